"""`records_maker.py FOLDER RANKS RANKS-PER-HOST STEPS`: what a launch of so many ranks would leave behind."""

from __future__ import annotations

import sys
from pathlib import Path

from hpcdl.durable import publish_record
from hpcdl.plan import Size, make_launches
from hpcdl.records import Environment, Exit, Host, Missing, Stretch, Summary, Versions, Window
from hpcdl.site import Site
from hpcdl.spec import Benchmark, Launches, Train
from hpcdl.store import LaunchFolder

STEP_S = 0.1
LINE = (
    '{"rank":%d,"step":%d,"warmup":false,"images":256,"begin_s":%.6f,"input_s":0.000812,"compute_s":0.080133,'
    '"exchange_s":0.012345,"update_s":0.004321,"loss":6.912345}\n'
)


def main(path: str, ranks: str, per_host: str, steps: str) -> None:
    folder, count, each, length = LaunchFolder(Path(path)), int(ranks), int(per_host), int(steps)
    folder.path.mkdir(parents=True)
    benchmark = Benchmark(
        train=Train(batch=256, steps=length, warmup=0),
        launches=Launches(nodes=(count // each,), tasks_per_node=each),
    )
    size = Size(
        nodes=count // each, tasks_per_node=each, cpus_per_task=1, threads_per_core=1, gpus_per_node=0
    )
    [launch] = make_launches(benchmark, Site(), (size,), launcher="srun")
    publish_record(folder.plan_path, launch)
    hosts = tuple(_make_host(rank, each) for rank in range(count))
    publish_record(folder.environment_path, _make_environment(hosts, length))
    begins_s = [step * STEP_S * (1 + 0.002 * ((7 * step) % 11 - 5) / 5) for step in range(length)]
    for first in range(0, count, each):
        host = hosts[first].host
        with folder.steps_path(host).open("w") as file:
            for rank in range(first, first + each):
                file.write("".join(LINE % (rank, step, begins_s[step]) for step in range(length)))
        with folder.exit_path(host).open("w") as file:
            file.writelines(
                _make_exit(hosts[rank]).model_dump_json() + "\n" for rank in range(first, first + each)
            )
    stretch = Stretch(first_step=0, steps=length, begin_s=0.0, end_s=length * STEP_S)
    window = Window(images=length * 256 * count, stretches=(stretch,))
    absent = Missing(missing="synthetic data have no held-out part")
    publish_record(folder.summary_path, Summary(window=window, final_loss=6.9, accuracy=absent))


def _make_host(rank: int, each: int) -> Host:
    name = f"node{rank // each:04d}"
    return Host(
        rank=rank,
        local_rank=rank % each,
        host=name,
        boot_id=name,
        pid=1,
        cpu="simulated",
        cores_visible=1,
        affinity=(0,),
        threads=1,
    )


def _make_environment(hosts: tuple[Host, ...], steps: int) -> Environment:
    return Environment(
        world_size=len(hosts),
        engine="horovod",
        transport="mpi",
        device="cpu",
        layout="nchw",
        steps=steps,
        images=None,
        classes=1000,
        versions=Versions(hpcdl="0", code="0", python="3", torch="2"),
        hosts=hosts,
        findings=(),
        slurm={},
    )


def _make_exit(host: Host) -> Exit:
    return Exit(
        rank=host.rank,
        host=host.host,
        local_rank=host.local_rank,
        outcome="completed",
        exit_code=0,
        last_step=0,
        phase="end",
        elapsed_s=1.0,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
