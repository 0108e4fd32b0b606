"""Data sets: how fast they are made, against the loop that everybody writes; and how fast raw pixels are read."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from startup import ROOT, Row

sys.path.insert(1, str(ROOT))

from hpcdl.estimates.intervals import Interval, estimate_over_repeats

MAKING_TARGET, READING_TARGET = 1.5, 10.0
TREE = ["--classes", "4", "--per-class", "800", "--size", "420"]
PAIRS = 4

# One process, one image after the other, as in every recipe for Caffe's convert_imageset in Python.
LOOP = """
import io, sys, time
from pathlib import Path
import lmdb
from PIL import Image

begin_s = time.monotonic()
tree, target = Path(sys.argv[1]), sys.argv[2]
files = sorted(tree.rglob("*.jpg"))
with lmdb.open(target, map_size=2**32) as environment:
    transaction = environment.begin(write=True)
    for index, file in enumerate(files):
        image = Image.open(file).convert("RGB")
        factor = 256 / min(image.size)
        image = image.resize([round(side * factor) for side in image.size], Image.Resampling.BILINEAR)
        stream = io.BytesIO()
        image.save(stream, format="JPEG", quality=95)
        transaction.put(b"%08d" % index, stream.getvalue())
        if index % 512 == 511:
            transaction.commit()
            transaction = environment.begin(write=True)
    transaction.commit()
print(len(files) / (time.monotonic() - begin_s))
"""

# Windows of both by turns, cut at a random position as Caffe did: images resized when they were made, or each time.
READING = """
import json, sys, time
from pathlib import Path
import torch
sys.path.insert(1, sys.argv[3])
from hpcdl import networks
from hpcdl.plan import Size, resolve_training
from hpcdl.spec import Benchmark, Train
from hpcdl.worker import data
from hpcdl.worker.data.bench import measure_window

torch.set_num_threads(1)
cores = int(sys.argv[4])

def open_stream(name, root):
    train = Train(model="alexnet", data=name, data_dir=root, batch=64, augmentation={"crop": "position"})
    size = Size(nodes=1, tasks_per_node=1, cpus_per_task=cores, threads_per_core=1, gpus_per_node=0)
    request = data.Request(
        network=networks.find("alexnet"),
        training=resolve_training(Benchmark(train=train), size),
        rank=0,
        world_size=1,
        device=torch.device("cpu"),
        threads=cores,
        memory_format=torch.channels_last,
    )
    return data.make(request).open(10**6)

streams = {"jpeg": open_stream("folder", sys.argv[1]), "raw": open_stream("raw", sys.argv[2])}
windows = {"jpeg": [], "raw": []}
for pair in range(6):
    for name in ("jpeg", "raw") if pair % 2 == 0 else ("raw", "jpeg"):
        time.sleep(0.5)
        windows[name].append(measure_window(streams[name], 4, 64, 1.5))
print(json.dumps(windows))
"""


def measure() -> list[Row]:
    """Both ratios, on as many cores as there are."""
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree"
        _call([str(ROOT / "tests" / "photographs.py"), str(tree), *TREE])
        made = _compare_making(Path(place), tree)
        raw = Path(place) / "raw"
        _call(["-m", "hpcdl", "data", "make", str(tree), str(raw), "--format", "raw", "--size", "256x256"])
        read = _compare_reading(tree, raw)
    return [
        _row(
            "making: `hpcdl data make` to LMDB over a loop with PIL and lmdb, images/s", made, MAKING_TARGET
        ),
        _row("reading: raw pixels over JPEG, images/s of hpcdl's own feed", read, READING_TARGET),
    ]


def _compare_making(place: Path, tree: Path) -> list[float]:
    """Logarithms of images/s of ours over the loop's, each by its own clock: interpreters and imports do not count."""
    ours = ["-m", "hpcdl", "data", "make", str(tree), str(place / "ours"), "--format", "lmdb", "--json"]
    ours += ["--shorter", "256", "--encoded", "jpeg"]
    theirs = ["-c", LOOP, str(tree), str(place / "theirs")]
    logs = []
    for pair in range(PAIRS):
        rate = {}
        for name, argv in (("ours", ours), ("theirs", theirs))[:: 1 if pair % 2 == 0 else -1]:
            said = json.loads(_call(argv))
            rate[name] = said["rate"]["value"] if name == "ours" else said
            shutil.rmtree(place / name)
        logs.append(math.log(rate["ours"] / rate["theirs"]))
    return logs


def _compare_reading(tree: Path, raw: Path) -> list[float]:
    cores = len(os.sched_getaffinity(0))
    windows = json.loads(_call(["-c", READING, str(tree), str(raw), str(ROOT), str(cores)]))
    return [math.log(one / other) for one, other in zip(windows["raw"], windows["jpeg"], strict=True)]


def _call(argv: list[str]) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *argv],
        check=True,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return done.stdout


def _row(name: str, logs: list[float], target: float) -> Row:
    mean = estimate_over_repeats(logs)
    ratio = Interval(
        math.exp(mean.value), math.exp(mean.low), math.exp(mean.high), mean.count, mean.effective
    )
    return Row(
        name=name, ratio=ratio.value, low=ratio.low, high=ratio.high, target=target, met=ratio.value >= target
    )
