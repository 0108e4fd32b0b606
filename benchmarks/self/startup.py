"""How long a person waits for hpcdl to answer, as a multiple of a bare program of the same kind.

Both stand on Typer and rich, and their import is most of what a start costs: so a program of two commands is the
yardstick, started in turn with hpcdl (bare, hpcdl, hpcdl, bare), and only the ratio counts.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS = 15
TARGETS = {"--help": 1.5, "submit --dry-run": 3.0}
ROOT = Path(__file__).resolve().parents[2]

BARE = '''
import typer
from rich.console import Console

app = typer.Typer()
console = Console()


@app.command()
def greet(name: str = "world") -> None:
    """Greet somebody."""
    console.print(f"hello {name}")


@app.command()
def leave(name: str = "world") -> None:
    """Leave somebody."""
    console.print(f"goodbye {name}")


app()
'''

# Every value that hpcdl would otherwise look up on the cluster.
SITE = """
name = "bench"

[node]
cores = 64
gpus = 4
"""


class Row(TypedDict):
    """One ratio with the 95 % interval of its median, and whether it keeps to its target."""

    name: str
    ratio: float
    low: float
    high: float
    target: float
    met: bool


def measure(rounds: int = ROUNDS) -> list[Row]:
    """The start of `hpcdl --help` and of `hpcdl submit --dry-run`, over the bare program's."""
    with tempfile.TemporaryDirectory() as text:
        home = Path(text)
        (home / "bare.py").write_text(BARE, encoding="utf-8")
        (home / "site.toml").write_text(SITE, encoding="utf-8")
        bare = [sys.executable, str(home / "bare.py"), "--help"]
        return [
            _row(f"startup: hpcdl {name}", target, _ratios(bare, _hpcdl(name), home, rounds))
            for name, target in TARGETS.items()
        ]


def _hpcdl(words: str) -> list[str]:
    return [sys.executable, "-m", "hpcdl", *words.split()]


def _row(name: str, target: float, ratios: Sequence[float]) -> Row:
    low, high = median_interval(ratios)
    ratio = statistics.median(ratios)
    return Row(name=name, ratio=ratio, low=low, high=high, target=target, met=ratio <= target)


def _ratios(bare: list[str], other: list[str], home: Path, rounds: int) -> list[float]:
    def wait(argv: list[str]) -> float:
        return _start_s(argv, home)

    for argv in (bare, other):
        wait(argv)  # the first start writes the compiled files
    return [paired_ratio(lambda: wait(bare), lambda: wait(other)) for _ in range(rounds)]


def paired_ratio(first: Callable[[], float], second: Callable[[], float]) -> float:
    """The second over the first, in the order ABBA: a machine that slows down steadily cancels out."""
    a, b, c, d = first(), second(), second(), first()
    return (b + c) / (a + d)


def _start_s(argv: list[str], home: Path) -> float:
    """Seconds from start to end. No Slurm on PATH: its answer is not our time."""
    environment = {
        "HOME": str(home),
        "PATH": str(home),
        "PYTHONPATH": str(ROOT),
        "HPCDL_SITE": str(home / "site.toml"),
        "HPCDL_STORE": str(home / "runs"),
    }
    began_s = time.perf_counter()
    done = subprocess.run(argv, env=environment, cwd=home, capture_output=True, text=True, check=False)
    elapsed_s = time.perf_counter() - began_s
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} left with {done.returncode}: {done.stderr}")
    return elapsed_s


def median_interval(values: Sequence[float], *, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a median from the order of the values alone: no shape of noise is assumed.

    The k-th value from either end, with the largest k for which the true median lies outside with at most
    1 - confidence (a sign test turned round; Thompson, Ann. Math. Statist. 7, 1936, p. 122). With fewer than
    six values there is none at 95 %: then from the smallest to the largest.
    """
    ordered, count = sorted(values), len(values)
    k, outside = 0, 0.0
    while k < count // 2:
        outside += 2 * comb(count, k) / 2**count
        if outside > 1 - confidence:
            break
        k += 1
    k = max(k, 1)
    return ordered[k - 1], ordered[count - k]
