"""How fast images come: hpcdl's own DALI source against PIL and a torch DataLoader with as many threads.

    python -m hpcdl.worker.data.bench DIR --model NAME --threads N --batch N --seconds S --pairs N

prints one JSON line for each pair of windows as it is done, and one for the whole.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hpcdl import networks
from hpcdl.datasets.tree import read_tree
from hpcdl.errors import HpcdlError, Mistake
from hpcdl.plan import Size, resolve_training
from hpcdl.records import Loading
from hpcdl.spec import Benchmark, Train
from hpcdl.worker.data.folder import Folder
from hpcdl.worker.data.plain import load_plainly
from hpcdl.worker.data.source import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENDLESS = 1_000_000
# Batches that either side has ready when its turn comes: they cost the window nothing, and do not count.
READY_OF_DALI = 4
READY_OF_EACH_WORKER = 2  # torch's prefetch_factor
# As long as either side may take to fill its queue when it is not asked for more.
SETTLE_S = 1.0


def main() -> None:
    """Measure, and print what was seen; 2 for a mistake, 1 for a failure."""
    options = _parse(sys.argv[1:])
    try:
        found = measure(
            Path(options.root),
            options.model,
            threads=options.threads,
            batch=options.batch,
            seconds=options.seconds,
            pairs=options.pairs,
        )
        print(found.model_dump_json(), flush=True)
    except HpcdlError as problem:
        print(json.dumps({"problem": problem.what, "do": problem.do, "code": problem.exit_code}), flush=True)
        sys.exit(problem.exit_code)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--model", required=True)
    for name in ("threads", "batch", "pairs"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    return parser.parse_args(arguments)


def measure(root: Path, model: str, *, threads: int, batch: int, seconds: float, pairs: int) -> Loading:
    """Images/s of both, in windows by turns: DALI, PIL, PIL, DALI and so on, so that drift touches both alike.

    Raises:
        Mistake: The tree cannot be used, or DALI or Pillow is missing.
        Failure: A file cannot be decoded.
    """
    torch.set_num_threads(1)
    request = _make_request(root, model, threads=threads, batch=batch)
    tree = read_tree(root, request.training.seed)
    paths = [f"{tree.root}/{tree.files[index]}" for index in tree.training]
    if len(paths) < batch:
        raise Mistake(
            f"{root} has {len(paths)} images to train on, and a batch takes {batch}.", do="Ask for less."
        )
    with contextlib.closing(Folder(request)) as source:
        source.verify()
        dali = source.open(ENDLESS)
        plain = load_plainly(
            paths,
            [int(tree.labels[index]) for index in tree.training],
            request.network,
            batch=batch,
            workers=threads,
        )
        ready = {"dali": READY_OF_DALI, "plain": READY_OF_EACH_WORKER * threads + 1}
        streams: dict[str, Iterator[Any]] = {"dali": dali, "plain": plain}
        windows: dict[str, list[float]] = {"dali": [], "plain": []}
        for pair in range(pairs):
            order = ("dali", "plain") if pair % 2 == 0 else ("plain", "dali")
            for name in order:
                # What the other one still makes ready ahead is no work of this one's window.
                time.sleep(SETTLE_S)
                windows[name].append(measure_window(streams[name], ready[name], batch, seconds))
            print(json.dumps({"pair": pair + 1, "of": pairs}), flush=True)
    return Loading(
        images=len(paths),
        threads=threads,
        batch=batch,
        input_shape=request.network.input_shape,
        dali=tuple(windows["dali"]),
        plain=tuple(windows["plain"]),
    )


def _make_request(root: Path, model: str, *, threads: int, batch: int) -> Request:
    benchmark = Benchmark(train=Train(model=model, data="folder", data_dir=str(root), batch=batch))
    size = Size(nodes=1, tasks_per_node=1, cpus_per_task=threads, threads_per_core=1, gpus_per_node=0)
    return Request(
        network=networks.find(model),
        training=resolve_training(benchmark, size),
        rank=0,
        world_size=1,
        device=torch.device("cpu"),
        threads=threads,
        memory_format=torch.contiguous_format,
    )


def measure_window(stream: Iterator[Any], ready: int, batch: int, seconds: float) -> float:
    """Images/s over at least so many seconds and four batches."""
    for _ in itertools.islice(stream, ready):
        pass
    begin_s, count = time.monotonic(), 0
    while count < 4 or time.monotonic() - begin_s < seconds:
        next(stream)
        count += 1
    return count * batch / (time.monotonic() - begin_s)


if __name__ == "__main__":
    main()
