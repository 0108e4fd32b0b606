"""How much an acceptance asks of a cluster, told before anything is submitted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.acceptance.folder import Acceptance
    from hpcdl.campaign.size import Size
    from hpcdl.plan import Job


def show_size(asked: Acceptance, root: Path, count: int, *, baseline: bool) -> Job:
    """How much is asked of the cluster, and what will be missing, on stderr; the first job."""
    from hpcdl.acceptance.folder import ACCEPTANCES, AcceptanceFolder
    from hpcdl.campaign.size import measure
    from hpcdl.cli import screen

    size, job = measure(asked, AcceptanceFolder(root / ACCEPTANCES / asked.accept_id), count)
    for line in _describe_size(asked, size, job, baseline=baseline):
        screen.talk.print(line, soft_wrap=True, style="dim")
    return job


def _describe_size(asked: Acceptance, size: Size, job: Job, *, baseline: bool) -> list[str]:
    from hpcdl.acceptance.rounds import TESTS
    from hpcdl.report.wording import count, join
    from hpcdl.walltime import format_walltime

    tests = [name for name in TESTS if getattr(asked.suite.tests, name) is not None]
    planned = {launch.test.partition("-")[0] for launch in job.launches}
    absent = [name for name in tests if name not in planned] if size.nodes == 1 else []
    walltime = format_walltime(int(size.longest_s))
    each = " each" if size.jobs > 1 else ""
    lines = [
        f"suite {asked.suite.name}: {join(tests)}, on {count(size.nodes, 'node')}",
        f"{count(size.jobs, 'job')} of at most {walltime}{each}: at most {write_bound(size.node_hours)} node-hours",
    ]
    if size.more_jobs and asked.executor == "slurm":
        lines.append(
            f"up to {count(size.more_jobs, 'job')} more where evidence lacks: at most "
            f"{write_bound(size.more_node_hours)} node-hours more"
        )
    if absent:
        lines.append(
            f"one node alone has no {join(absent)}: what is required of these stays without evidence"
        )
    held = [one.name for one in asked.suite.criteria if one.of == "reference"]
    if held and not baseline:
        lines.append(
            f"without --baseline FILE there is nothing to hold against, and no evidence on: {join(held)}"
        )
    return lines


def write_bound(hours: float) -> str:
    """An upper bound with two digits at least, never rounded down: '10,750', '0.084'."""
    if hours >= 10:
        return f"{math.ceil(hours):,}"
    digits = 1 if hours >= 1 else 3
    return f"{math.ceil(round(hours * 10**digits, 6)) / 10**digits:g}"


def print_job(job: Job) -> None:
    """A dry run's result: the script that Slurm would get; on this machine, the job."""
    from hpcdl import script

    print(script.render(job) if job.executor == "slurm" else f"{job.model_dump_json(indent=1)}\n", end="")
