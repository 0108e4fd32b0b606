"""How much an acceptance asks of a cluster, told before anything is submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.acceptance.folder import Acceptance
    from hpcdl.campaign.size import Size
    from hpcdl.plan import Job


def show_size(asked: Acceptance, root: Path, count: int) -> Job:
    """How much is asked of the cluster, on stderr; the first job."""
    from hpcdl.acceptance.folder import ACCEPTANCES, AcceptanceFolder
    from hpcdl.campaign.size import measure
    from hpcdl.cli import screen

    size, job = measure(asked, AcceptanceFolder(root / ACCEPTANCES / asked.accept_id), count)
    for line in _describe_size(asked, size, job):
        screen.talk.print(line, soft_wrap=True, style="dim")
    return job


def _describe_size(asked: Acceptance, size: Size, job: Job) -> list[str]:
    from hpcdl.acceptance.rounds import TESTS
    from hpcdl.report.wording import count, join
    from hpcdl.walltime import format_walltime

    tests = [name for name in TESTS if getattr(asked.suite.tests, name) is not None]
    planned = {launch.test.partition("-")[0] for launch in job.launches}
    absent = [name for name in tests if name not in planned] if size.nodes == 1 else []
    walltime = format_walltime(int(size.longest_s))
    lines = [
        f"suite {asked.suite.name}: {join(tests)}, on {count(size.nodes, 'node')}",
        f"{count(size.jobs, 'job')}, each at most {walltime}: at most {size.node_hours:,.2g} node-hours",
    ]
    if size.more_jobs and asked.executor == "slurm":
        lines.append(
            f"up to {count(size.more_jobs, 'job')} more where evidence lacks: at most "
            f"{size.more_node_hours:,.2g} node-hours more"
        )
    if absent:
        lines.append(
            f"one node alone has no {join(absent)}: what is required of these stays without evidence"
        )
    return lines


def print_job(job: Job) -> None:
    """A dry run's result: the script that Slurm would get; on this machine, the job."""
    from hpcdl import script

    print(script.render(job) if job.executor == "slurm" else f"{job.model_dump_json(indent=1)}\n", end="")
