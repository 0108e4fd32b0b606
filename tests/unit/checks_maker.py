"""Jobs of an acceptance as they are planned, and what their nodes leave behind, written through the real store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hpcdl.checks import Checked
from hpcdl.durable import Appender, publish_record
from hpcdl.plan import Job, NodeCheck, cluster_sizes, make_launches
from hpcdl.probes import Collective, Pair, PairTable, Probe
from hpcdl.records import Missing
from hpcdl.site import Site
from hpcdl.spec import Benchmark, Launches, Metering, Train
from hpcdl.store import LaunchFolder, RunFolder, lay_out
from tests.unit.records_maker import make_exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hpcdl.plan import Launch

CPU = "AMD EPYC 9534 64-Core Processor"
GPU = "NVIDIA H100 80GB HBM3"
CHECKS = ("identity", "arithmetic", "matrix", "train", "health")


def plan_launches(benchmark: Benchmark, site: Site, *, first: int = 1, **changes: Any) -> list[Launch]:
    sizes = cluster_sizes(benchmark, site, cores=8)
    launches = make_launches(benchmark, site, sizes, launcher="srun")
    return [
        launch.model_copy(
            update={"index": first + place, "name": f"{first + place:03d}-{launch.name[4:]}"} | changes
        )
        for place, launch in enumerate(launches)
    ]


def write_acceptance_run(
    store: Path,
    *,
    nodes: int = 4,
    tasks: int = 1,
    gpus: int = 0,
    checks: Sequence[str] = CHECKS,
    models: Sequence[str] = ("lenet",),
    repeats: int = 3,
    run_id: str = "20261201-080000-acc1",
    power: bool = False,
    tests: Sequence[str] = ("node",),
    executor: str = "slurm",
    nodelist: str | None = None,
) -> RunFolder:
    """A job of an acceptance as it is laid out before its first launch: one launch for each of `tests`."""
    site = Site.model_validate(
        {"name": "juno", "node": {"gpus": gpus, "tasks_per_node": tasks}, "slurm": {"nodelist": nodelist}}
    )
    benchmark = Benchmark(
        name="accept-smoke",
        train=Train(model=models[0], batch=64, steps=60, warmup=2),
        launches=Launches(nodes=(nodes,), tasks_per_node=tasks, bracket=False, probe="never"),
        power=Metering(sample=power),
    )
    launches: list[Launch] = []
    for test in tests:
        launches += _plan(
            test, benchmark, site, first=len(launches) + 1, checks=checks, models=models, repeats=repeats
        )
    job = Job(
        run_id=run_id,
        benchmark_id=benchmark.benchmark_id,
        plan_hash="abcdefabcdef",
        created_utc=datetime(2026, 12, 1, 8, 0, tzinfo=UTC),
        name="accept-smoke",
        executor=executor,
        nodes=nodes,
        walltime_s=600,
        run_dir=str(store / run_id),
        python="/usr/bin/python3",
        benchmark=benchmark,
        site=site,
        sources={},
        launches=tuple(launches),
    )
    return lay_out(job, script="#!/bin/bash\n")


def _plan(test, benchmark, site, *, first, checks, models, repeats):
    (nodes,) = benchmark.launches.nodes
    if test == "node":
        (launch,) = plan_launches(benchmark, site, first=first, kind="check", test=test)
        trainings = tuple(launch.train.model_copy(update={"model": model}) for model in models)
        check = NodeCheck(checks=tuple(checks), trainings=trainings, repeats=repeats, soak_s=None)
        return [
            launch.model_copy(update={"check": check, "name": f"{first:03d}-node", "power": benchmark.power})
        ]
    if test.startswith("links"):
        launches = plan_launches(benchmark, site, first=first, kind="probe", test=test)
        half = (
            {"nodes": nodes // 2, "first_node": nodes // 2 * (test == "links-half-2")}
            if "half" in test
            else {}
        )
        return [one.model_copy(update={"name": f"{first:03d}-{test}"} | half) for one in launches]
    if test == "scaling":
        sizes = benchmark.launches.model_copy(update={"nodes": (1, nodes)})
        return plan_launches(benchmark.model_copy(update={"launches": sizes}), site, first=first, test=test)
    return plan_launches(benchmark, site, first=first, test=test)


def check_launch(run: RunFolder) -> tuple[Launch, LaunchFolder]:
    launch = next(one for one in run.job().launches if one.kind == "check")
    return launch, LaunchFolder(run.path / launch.name)


def make_look(check: str, host: str = "node1", local_rank: int = 0, **changes: Any) -> Checked:
    """A look that saw what there was to see."""
    numbers, words = USUAL.get(check, ({}, {}))
    usual: dict[str, Any] = {
        "rank": local_rank,
        "device": "" if check in {"identity", "storage", "data", "decode"} else "cpu",
        "model": "" if check in {"identity", "storage", "data", "decode"} else CPU,
        "subject": "lenet" if check in {"train", "arithmetic"} else "",
        "outcome": "looked",
        "numbers": numbers,
        "words": words,
        "begin_s": 100.0,
        "end_s": 110.0,
    }
    return Checked(check=check, host=host, local_rank=local_rank, **usual | changes)


USUAL: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "identity": (
        {
            "sockets": 2.0,
            "cores": 128.0,
            "cores_visible": 64.0,
            "cpu_limit_cores": Missing(missing="no CPU quota is set"),
            "memory_bytes": 5e11,
            "memory_limit_bytes": Missing(missing="no limit is set"),
            "gpus": 0.0,
        },
        {
            "cpu": CPU,
            "gpu": "none",
            "driver": "none",
            "vbios": "none",
            "kernel": "6.1.0",
            "system": "Debian 12",
            "governor": "performance",
            "nic": "ib0 mlx5 400 Gbit/s",
            "limits": "nofile 1048576",
            "versions": '{"torch": "2.10.0"}',
            "version.torch": "2.10.0",
        },
    ),
    "arithmetic": ({"repeatable": 1.0}, {"digest": "00112233445566aa", "losses": "0x1.2p+1 0x1.1p+1"}),
    "matrix": ({"flops_per_s": 1e12}, {}),
    "memory": ({"bytes_per_s": 2e11}, {}),
    "storage": ({"bytes_per_s": 1e9}, {}),
    "decode": ({"images_per_s": 5000.0}, {}),
    "data": ({"unreadable": 0.0}, {"digest": "d1"}),
    "train": ({"images_per_s": 1000.0}, {}),
    "health": ({"temperature_c": 60.0, "clock_mhz": 2600.0}, {}),
}


def write_looks(run: RunFolder, looks: Iterable[Checked]) -> LaunchFolder:
    """The lines of the launch of checks, by host."""
    _, folder = check_launch(run)
    streams: dict[str, Appender] = {}
    for look in looks:
        streams.setdefault(look.host, Appender(folder.checks_path(look.host))).add(look)
    for stream in streams.values():
        stream.flush()
    return folder


def write_exits(
    run: RunFolder, outcomes: Mapping[tuple[str, int], Mapping[str, Any]], *, index: int | None = None
) -> None:
    """How ranks ended: (host, local rank) -> what is not as usual."""
    _, folder = check_launch(run)
    for place, ((host, local_rank), changes) in enumerate(outcomes.items()):
        stream = Appender(folder.exit_path(host))
        stream.add(make_exit(place, host=host, **{"local_rank": local_rank, "phase": "end"} | dict(changes)))
        stream.flush()


def write_healthy(
    run: RunFolder, hosts: Sequence[str], changes: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None
) -> LaunchFolder:
    """All of these nodes do all that was planned; `changes`: host -> check -> what its looks say otherwise."""
    launch, _ = check_launch(run)
    changes = changes or {}
    looks = []
    for host in hosts:
        for local_rank in range(launch.tasks_per_node):
            looks += _look_at_all(launch, host, local_rank, changes.get(host, {}))
    folder = write_looks(run, looks)
    ranks = range(launch.tasks_per_node)
    write_exits(run, {(host, rank): {} for host in hosts for rank in ranks})
    return folder


def _look_at_all(launch, host, local_rank, changes):
    for check in launch.check.checks:
        if check in {"identity", "storage", "data", "decode"} and local_rank:
            continue
        own = dict(changes.get(check, {}))
        numbers, words = USUAL[check]
        own = own | {
            "numbers": {**numbers, **own.get("numbers", {})},
            "words": {**words, **own.get("words", {})},
        }
        timed = check in {"train", "matrix", "memory", "storage", "decode"}
        subjects = [one.model for one in launch.check.trainings] if check in {"train", "arithmetic"} else [""]
        for repeat in range(1, (launch.check.repeats if timed else 1) + 1):
            for subject in subjects:
                yield make_look(check, host, local_rank, **{"repeat": repeat, "subject": subject} | own)


def write_probe(
    run: RunFolder,
    test: str,
    *,
    bandwidths: Mapping[tuple[int, int], float],
    seconds: float = 0.01,
    ranks: int | None = None,
) -> LaunchFolder:
    """The probe of this test: an allreduce of 1 and of 64 MiB, and the pairs as given, by rank."""
    launch = next(one for one in run.job().launches if one.test == test)
    folder = LaunchFolder(run.path / launch.name)
    world = ranks or launch.world_size
    probe = Probe(
        world_size=world,
        allreduce=(
            Collective(size_bytes=2**20, seconds=(seconds / 50,) * 7),
            Collective(size_bytes=2**26, seconds=(seconds,) * 7),
        ),
        mpi=Missing(missing="not started"),
        gradients=Collective(size_bytes=2**20, seconds=(seconds,) * 7),
        links=(
            PairTable(
                over="mpi",
                pairs=tuple(
                    Pair(a_rank=a, b_rank=b, latency_s=2e-6, bandwidth_bytes_per_s=rate)
                    for (a, b), rate in bandwidths.items()
                ),
            ),
        )
        if bandwidths
        else Missing(missing="all ranks are on one node"),
    )
    publish_record(folder.probe_path, probe)
    return folder
