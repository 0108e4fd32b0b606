"""The jobs whose batch scripts are kept here, and others like them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hpcdl.plan import Job, cluster_sizes, make_launches
from hpcdl.site import Site
from hpcdl.spec import Benchmark

RUN_ID = "20261122-141200-k3f9"

FULL_SITE = {
    "name": "juno",
    "slurm": {
        "partition": "gpu",
        "account": "bench",
        "qos": "high",
        "constraint": "a100&nvlink",
        "reservation": "acceptance",
        "nodelist": "gpu[01-04]",
        "exclude": "gpu03",
        "dependency": "afterok:1234",
        "memory": "0",
        "signal": "B:USR1@120",
        "exclusive": True,
        "requeue": True,
        "export": "HOME,USER",
        "pmi": "pmix_v4",
        "cpu_bind": "verbose,cores",
        "options": {"comment": 'night # run of "juno"', "contiguous": True, "oversubscribe": False},
    },
    "node": {"cores": 64, "gpus": 4, "gpu": "a100-sxm-80gb", "network": "ib0"},
    "setup": {
        "modules": ("cuda/13.0", "openmpi/4.1"),
        "venv": "$HOME/my envs/hpcdl",
        "environment": {"NCCL_DEBUG": "WARN", "NOTE": "it's 5 o'clock"},
        "lines": ("ulimit -l unlimited", 'export SCRATCH="/scratch/$USER"'),
    },
}

SPACK_SITE = {
    "setup": {"modules": ("gcc",), "spack": "hpcdl", "spack_root": "/opt/spack", "venv": "/opt/above"}
}
APPTAINER_SITE = {
    "node": {"cores": 64, "gpus": 4, "network": "ib0"},
    "setup": {"modules": ("apptainer",), "environment": {"NCCL_DEBUG": "WARN"}},
    "container": {
        "runtime": "apptainer",
        "image": "$PROJECT/images of mine/hpcdl.sif",
        "mounts": ("/etc/hosts:/etc/hosts:ro", "$SCRATCH"),
        "options": ("--writable-tmpfs",),
    },
}
PYXIS_SITE = {
    "node": {"cores": 64, "gpus": 4, "network": "ib0"},
    "setup": {"environment": {"NCCL_DEBUG": "WARN"}},
    "container": {
        "runtime": "pyxis",
        "image": "nvcr.io#nvidia/pytorch:25.10-py3",
        "mounts": ("/etc/hosts:/etc/hosts:ro", "$SCRATCH"),
        "options": ("--container-writable",),
        "python": "/opt/hpcdl/bin/python",
    },
}


def make_job(
    *, site: dict[str, Any] | None = None, about: str = "", name: str = "custom", **changes: Any
) -> Job:
    """A job for two-core nodes without GPUs, unless the site says otherwise.

    `nodes`, `repeat` and their like shape its launches; all else are fields of the Job.
    """
    shape = ("nodes", "repeat", "tasks_per_node", "bracket", "probe")
    launches = {key: changes.pop(key) for key in shape if key in changes}
    benchmark = Benchmark.model_validate(
        {"name": name, "about": about, "train": {"model": "lenet", "steps": 20}, "launches": launches}
    )
    where = Site.model_validate(site or {})
    sizes = cluster_sizes(benchmark, where, cores=where.node.cores or 2)
    fields: dict[str, Any] = {
        "run_id": RUN_ID,
        "benchmark_id": benchmark.benchmark_id,
        "plan_hash": "abcdefabcdef",
        "created_utc": datetime(2026, 11, 22, 14, 12, tzinfo=UTC),
        "name": benchmark.name,
        "executor": "slurm",
        "nodes": max(benchmark.launches.nodes),
        "walltime_s": 5400,
        "run_dir": f"/shared/runs/{RUN_ID}",
        "python": "/opt/hpcdl/bin/python",
        "benchmark": benchmark,
        "site": where,
        "sources": {},
        "launches": make_launches(benchmark, where, sizes, launcher="srun"),
    }
    return Job(**(fields | changes))


KEPT = {
    "minimal.sbatch": make_job(),
    "full.sbatch": make_job(
        site=FULL_SITE, nodes=(4,), run_dir=f"/scratch/it's here/{RUN_ID}", walltime_s=90_061
    ),
    "scaling.sbatch": make_job(
        site={"slurm": {"exclusive": False, "cpu_bind": None}},
        name="scaling",
        nodes=(1, 2, 4),
        repeat=2,
        tasks_per_node=2,
    ),
    "spack.sbatch": make_job(site=SPACK_SITE, python="/opt/above/bin/python"),
    "apptainer.sbatch": make_job(site=APPTAINER_SITE, nodes=(2,), python="python3"),
    "pyxis.sbatch": make_job(site=PYXIS_SITE, nodes=(2,), python="/opt/hpcdl/bin/python"),
}
