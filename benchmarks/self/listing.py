"""What 20,000 runs cost a command that lists them: the marginal cost per run, over json.loads of the run's summary.

The store is real: every run is a folder with the records of reports/lenet-digits (one launch of two ranks, a summary
of some 2 kB), its files linked, its job under its own id. The index of all is written from that of the first few
hundred, which are analysed for real: that is the cold time. Then by turns, in one process: a look at an empty store
and at all (load the index, compare every folder's times, select by a query, describe the newest), and json.loads of
all summaries, which are in memory already. CPU time, the kernel's included: what others do here is not in it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from startup import ROOT, Row, median_interval

from hpcdl.analysis import index_file
from hpcdl.analysis.catalogue import find_launches, find_runs, read_stores
from hpcdl.analysis.index import read_mtimes
from hpcdl.analysis.index_file import Stored
from hpcdl.analysis.rows import COLUMNS
from hpcdl.report import as_terminal
from hpcdl.report.listing import list_runs
from hpcdl.store import Store
from hpcdl.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS, COLD_RUNS, ROUNDS = 20_000, 200, 9
TARGET = 2.0
MODEL = ROOT / "reports" / "lenet-digits"
WHERE = "model='lenet' and images_per_s > 2173.7"
HOUR_S = 3600


def measure() -> list[Row]:
    """The whole of a list, and of a list by a query, over parsing the summaries; cold time goes to stderr."""
    with tempfile.TemporaryDirectory() as text:
        os.environ["XDG_CACHE_HOME"] = f"{text}/cache"
        full, few, none = (Path(text) / name for name in ("full", "few", "none"))
        none.mkdir()
        summary = next(MODEL.glob("*/summary.json")).read_bytes()
        _fill(full, RUNS)
        _fill(few, COLD_RUNS)
        _tell_cold(few)
        _write_index(full, few)
        kept = f"{RUNS:,} runs, a summary of {len(summary):,} bytes"
        return [
            _compare(f"listing: newest 20 of {kept}", full, none, summary, _list),
            _compare(f"listing: --where over {kept}", full, none, summary, _query),
        ]


def _fill(root: Path, count: int) -> None:
    job = json.loads((MODEL / "job.json").read_bytes())
    folders = {path.parent.name for path in MODEL.glob("*/plan.json")}
    names = [
        str(path.relative_to(MODEL))
        for path in MODEL.rglob("*")
        if path.is_file() and path.name != "job.json"
    ]
    master = root.with_name(f"{root.name}-master")
    shutil.copytree(MODEL, master)
    for number in range(count):
        run = root / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(1.7e9 + number * HOUR_S))}-aaaa"
        for folder in folders:
            (run / folder).mkdir(parents=True)
        for name in names:
            os.link(master / name, run / name)
        (run / "job.json").write_text(json.dumps(job | {"run_id": run.name, "run_dir": str(run)}))
        for folder in (*(run / name for name in folders), run):
            os.utime(folder, (1.7e9, 1.7e9))


def _tell_cold(root: Path) -> None:
    """CPU time of reading runs for the first time; on stderr, as it is no ratio."""
    began_s = time.process_time()
    read_stores(Stores([Store(root)]))
    each_ms = 1000 * (time.process_time() - began_s) / COLD_RUNS
    print(f"bench: listing: cold, {each_ms:.1f} ms a run over {COLD_RUNS} runs", file=sys.stderr)


def _write_index(full: Path, few: Path) -> None:
    """All runs, with the rows of the few over and over, each under its own id and with a rate of its own."""
    known = index_file.load(few, list(COLUMNS))
    runs = Store(full).names()
    launches = [known.launches[0]] * len(runs)
    mtimes_ns = [read_mtimes(f"{full}/{run}", launches[0]) or [] for run in runs]
    table: dict[str, list[Any]] = {
        name: known.column(name) * (len(runs) // len(known.runs)) for name in COLUMNS
    }
    table["run_id"] = runs
    for name in (
        "images_per_s",
        "images_per_s_low",
        "images_per_s_high",
        "j_per_image",
        "average_w",
        "images_per_j",
    ):
        table[name] = [
            value * (1 + place % 997 * 1e-6) if value else None for place, value in enumerate(table[name])
        ]
    index_file.save(full, Stored(runs, [1] * len(runs), launches, mtimes_ns), table)


def _list(root: Path) -> None:
    as_terminal.write(list_runs(read_stores(Stores([Store(root)]), last=20), last=20))


def _query(root: Path) -> None:
    catalogue = read_stores(Stores([Store(root)]))
    if catalogue.counts:
        chosen = find_runs(catalogue, find_launches(catalogue, WHERE))
        as_terminal.write(list_runs(catalogue, frozenset(name for _, name in chosen), last=20))


def _compare(name: str, full: Path, none: Path, summary: bytes, look: Callable[[Path], None]) -> Row:
    def parse() -> None:
        for _ in range(RUNS):
            json.loads(summary)

    def cost(act: Callable[[], None]) -> float:
        began_s = time.process_time()
        act()
        return time.process_time() - began_s

    def marginal() -> float:
        return cost(lambda: look(full)) - cost(lambda: look(none))

    look(full)
    ratios = []
    for _ in range(ROUNDS):
        a, b, c, d = cost(parse), marginal(), marginal(), cost(parse)
        ratios.append((b + c) / (a + d))
    low, high = median_interval(ratios)
    print(f"bench: {name}: {1e6 * b / RUNS:.1f} us a run, json.loads {1e6 * d / RUNS:.1f}", file=sys.stderr)
    ratio = statistics.median(ratios)
    return Row(name=name, ratio=ratio, low=low, high=high, target=TARGET, met=ratio <= TARGET)
