"""How an HTML report copes with many ranks: its size, what it takes to write, and how long a browser takes to draw it.

The run is simulated, 8,192 ranks on 1,024 hosts; beside it stands one of 4 ranks. Each is analysed and written by a
process of its own. A page is drawn when every picture in it has marks; small and large take turns.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from records import HOST_RANKS, RANKS
from startup import ROOT, Row, median_interval

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FEW_RANKS, STEPS, ROUNDS = 4, 200, 5
LARGEST_BYTES, TIME_TARGET, DRAWING_TARGET = 10e6, 1.0, 5.0

WRITE = """
import json, sys, time
from pathlib import Path
from hpcdl import report
from hpcdl.analysis.job import analyse_run
from hpcdl.report.formats import render
from hpcdl.store import RunFolder
begin_s = time.process_time()
result = analyse_run(RunFolder(Path(sys.argv[1])))
analysed_s = time.process_time()
page = render(report.build([result], pictured=True), "html")
print(json.dumps([analysed_s - begin_s, time.process_time() - analysed_s]))
Path(sys.argv[2]).write_text(page)
"""
DRAWN = (
    "[...document.querySelectorAll('figure .chart')].every(chart => chart.querySelector('svg path, canvas'))"
)


def measure() -> list[Row]:
    """Bytes over 10 MB, writing over analysing, and drawing over that of a page of four ranks."""
    browser = shutil.which("chromium")
    if browser is None:
        raise Mistake("the bench of pages needs Chromium.", do="As root: apt-get install chromium.")
    with tempfile.TemporaryDirectory() as text:
        root = Path(text)
        pages = {ranks: _write(root, ranks) for ranks in (FEW_RANKS, RANKS)}
        large, costs = pages[RANKS]
        drawing = _draw(browser, pages[FEW_RANKS][0], large)
        size = large.stat().st_size
    name = f"pages: HTML of {RANKS:,} ranks, {STEPS} steps"
    return [
        _row(f"{name}, size over 10 MB", [size / LARGEST_BYTES], 1.0),
        _row(f"{name}, writing it over analysing the records", [costs[1] / costs[0]], TIME_TARGET),
        _row(f"{name}, until drawn over a page of {FEW_RANKS} ranks", drawing, DRAWING_TARGET),
    ]


def _write(root: Path, ranks: int) -> tuple[Path, tuple[float, float]]:
    """The page, and the seconds of analysing and of writing."""
    run, page = root / f"run-{ranks}", root / f"{ranks}.html"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    maker = str(Path(__file__).with_name("records_maker.py"))
    run.mkdir()
    argv = [
        sys.executable,
        maker,
        str(run / "001-simulated"),
        str(ranks),
        str(min(HOST_RANKS, ranks)),
        str(STEPS),
    ]
    subprocess.run(argv, check=True, env=environment)
    _add_job(run)
    argv = [sys.executable, "-c", WRITE, str(run), str(page)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, env=environment)
    analysed_s, written_s = json.loads(done.stdout)
    return page, (analysed_s, written_s)


def _add_job(run: Path) -> None:
    """A run is a job and its launches; the launch is there."""
    from datetime import UTC, datetime

    from hpcdl.durable import publish_record
    from hpcdl.plan import Job
    from hpcdl.site import Site
    from hpcdl.spec import Benchmark
    from hpcdl.store import LaunchFolder, RunFolder

    launch = LaunchFolder(run / "001-simulated").plan().model_copy(update={"name": "001-simulated"})
    benchmark = Benchmark(name="simulated")
    job = Job(
        run_id=run.name,
        benchmark_id=benchmark.benchmark_id,
        plan_hash="0" * 12,
        created_utc=datetime.now(UTC),
        name=benchmark.name,
        executor="slurm",
        nodes=launch.nodes,
        walltime_s=600,
        run_dir=str(run),
        python=sys.executable,
        benchmark=benchmark,
        site=Site(name="simulated"),
        sources={},
        launches=(launch,),
    )
    publish_record(RunFolder(run).job_path, job)


def _draw(program: str, small: Path, large: Path) -> list[float]:
    """Ratios of the seconds until all pictures are drawn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        ratios = []
        for turn in range(ROUNDS):
            order = (small, large) if turn % 2 else (large, small)
            seconds = {page: _time_drawing(browser, page) for page in order}
            ratios.append(seconds[large] / seconds[small])
        browser.close()
    return ratios


def _time_drawing(browser: Browser, path: Path) -> float:
    page = browser.new_page()
    begin_s = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_function(DRAWN)
    elapsed_s = time.perf_counter() - begin_s
    page.close()
    return elapsed_s


def _row(name: str, values: list[float], target: float) -> Row:
    low, high = median_interval(values)
    ratio = statistics.median(values)
    return Row(name=name, ratio=ratio, low=low, high=high, target=target, met=ratio <= target)
