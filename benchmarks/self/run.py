"""hpcdl's own speed: ratios measured within one run, each with an interval and held to a target.

    python benchmarks/self/run.py [BENCH …] [--json] [--out FILE]

A bench is a function that returns rows and a line in BENCHES. The exit code is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

# Run as a file, this folder comes first on the path; the package itself need not be installed.
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

import compute
import diagnosis
import exchange
import instruments
import listing
import loading
import making
import pages
import records
import sampling
import startup

from hpcdl.errors import Mistake, UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from startup import Row

# What measures, and how long people wait for it on two cores.
BENCHES: dict[str, tuple[Callable[[], list[Row]], str]] = {
    "startup": (startup.measure, "a minute or two"),
    "compute": (compute.measure, "about 10 minutes"),
    "exchange": (exchange.measure, "4 minutes where nobody else works"),
    "instruments": (instruments.measure, "about 2 minutes"),
    "records": (records.measure, "about 3 minutes, and 2 GB of disk"),
    "sampling": (sampling.measure, "about 3 minutes"),
    "pages": (pages.measure, "about a minute, and 500 MB of disk"),
    "loading": (loading.measure, "a minute"),
    "making": (making.measure, "about 3 minutes, and 1 GB of disk"),
    "diagnosis": (diagnosis.measure, "about 2 minutes"),
    "listing": (listing.measure, "about a minute"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    rows: list[Row] = []
    # All names first: a wrong one is known before anybody has waited.
    for name, (measure, duration) in {name: _find(name) for name in options.bench or BENCHES}.items():
        print(f"bench: {name}, {duration}", file=sys.stderr, flush=True)
        rows += measure()
    text = json.dumps(rows, indent=2)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text if options.json else render(rows))
    return 0 if all(row["met"] for row in rows) else 1


def render(rows: Sequence[Row]) -> str:
    """A table: what was measured, the median ratio, its interval, the target and whether it is met."""
    width = max((len(row["name"]) for row in rows), default=0)
    lines = [
        f"{row['name']:<{width}}  {row['ratio']:6.3f}  [{row['low']:.3f}, {row['high']:.3f}]"
        f"  target {row['target']:g}  {'met' if row['met'] else 'MISSED'}"
        for row in rows
    ]
    return "\n".join(lines)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="hpcdl's own speed, as ratios within one run")
    parser.add_argument("bench", nargs="*", help=f"some of: {', '.join(BENCHES)} (all)")
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there as well")
    return parser.parse_args(arguments)


def _find(name: str) -> tuple[Callable[[], list[Row]], str]:
    if name not in BENCHES:
        raise UnknownName("bench", name, BENCHES)
    return BENCHES[name]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Mistake as mistake:
        print(f"bench: {mistake}", file=sys.stderr)
        sys.exit(mistake.exit_code)
