"""The first act of a batch script: `python -m hpcdl.worker.opening < job.json` makes sure of the run's folder.

After `hpcdl submit` it is there already. A script that was printed by --dry-run and piped into sbatch
brings its job along, and lays out the folder itself.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.durable import publish_record
from hpcdl.errors import Failure, HpcdlError, Mistake
from hpcdl.frozen import parse
from hpcdl.plan import Job
from hpcdl.records import Submission
from hpcdl.store import RunFolder, lay_out

if TYPE_CHECKING:
    from collections.abc import Mapping


# man sbatch, OUTPUT ENVIRONMENT VARIABLES: set in heterogeneous jobs only; the second until 20.11.
COMPONENTS = ("SLURM_HET_SIZE", "SLURM_PACK_SIZE")


def require_one_component(environ: Mapping[str, str]) -> None:
    """Raise Mistake where this is a component of a heterogeneous job: its nodes are not the plan's."""
    name = next((name for name in COMPONENTS if environ.get(name, "0") not in {"", "0"}), None)
    if name is not None:
        raise Mistake(
            f"this job has {environ[name]} components ({name}), and hpcdl measures nodes that are asked for alike; "
            "a heterogeneous job is several allocations that differ.",
            do="Give the script to sbatch by itself.",
        )


def open_run(job: Job) -> RunFolder:
    """The run's folder, laid out.

    Raises:
        Failure: The folder belongs to another job, or holds records of an earlier start of this script that was not
            to be started again.
        Mistake: The store cannot be written.
    """
    folder = RunFolder(Path(job.run_dir))
    if not folder.job_path.exists():
        lay_out(job, script=None)
        _record_submission(folder)
        return folder
    if folder.job().plan_hash != job.plan_hash:
        raise Failure(f"{folder.path} holds another job.", do="Submit anew; a run is never written over.")
    if any(launch.exits() for launch in folder.launches()):
        if _is_wanted_again(job, folder):
            return folder
        raise Failure(
            f"{folder.path} already holds the records of this script.",
            do="A measurement that is started twice is two runs: submit anew.",
        )
    return folder


def _is_wanted_again(job: Job, folder: RunFolder) -> bool:
    """Slurm has requeued this very job, and the site lets it: the launches that were not completed begin anew."""
    submission = folder.submission()
    mine = submission is not None and str(submission.slurm_job_id) == os.environ.get("SLURM_JOB_ID")
    return mine and job.site.slurm.requeue and int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0


def _record_submission(folder: RunFolder) -> None:
    """Nobody but the job itself knows its number, where the script was given to sbatch by hand."""
    number = os.environ.get("SLURM_JOB_ID", "")
    if number.isdigit():
        record = Submission(
            slurm_job_id=int(number), host=socket.gethostname(), submitted_utc=datetime.now(UTC)
        )
        publish_record(folder.submission_path, record)


def main() -> None:
    """Read a job on stdin and open its folder."""
    try:
        require_one_component(os.environ)
        open_run(parse_job(sys.stdin.read()))
    except HpcdlError as problem:
        print(f"hpcdl: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)


def parse_job(text: str) -> Job:
    """The job in a script's own words.

    Raises:
        Mistake: It is no JSON, or no job: somebody has edited the script.
    """
    where = "the job in the batch script"
    try:
        return parse(Job, json.loads(text), where=where)
    except json.JSONDecodeError as problem:
        raise Mistake(f"{where}: this is not JSON: {problem}.") from None


if __name__ == "__main__":
    main()
