"""What hpcdl asks of Slurm. Every call ends by itself; none waits for a job."""

from __future__ import annotations

import getpass
import os
import re
import shutil
from typing import TYPE_CHECKING

from hpcdl.errors import Failure, HpcdlError, Mistake, RefusedJob, UnknownName
from hpcdl.slurm import cluster, commands, nodes, refusals, words
from hpcdl.slurm.commands import Ambiguous, Unreachable, ask

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hpcdl.slurm.nodes import NodeFacts, NodeWord
    from hpcdl.slurm.words import JobState

# What would be nice to know is not worth a long wait.
ASIDE_TIMEOUT_S = 15.0
SACCT_FAILURES_ALLOWED = 3
_REFUSAL = re.compile(r"(?:allocation failure|Batch job submission failed): ")


def is_here() -> bool:
    """Whether jobs can be submitted from this machine at all."""
    return shutil.which("sbatch") is not None


def version() -> str:
    """Slurm's version, such as '22.05.8'.

    Raises:
        Mistake: There is no Slurm here.
        Failure: sbatch cannot even say that; its words.
    """
    answer = _demand(["sbatch", "--version"], timeout_s=ASIDE_TIMEOUT_S)
    return answer.out.split()[-1] if answer.out.split() else "unknown"


def pmi_types() -> tuple[str, ...]:
    """What srun's --mpi takes here, such as ('pmix', 'none', 'pmi2', 'pmix_v4'); empty where srun does not say."""
    answer = _ask_aside(["srun", "--mpi=list"])
    # Older versions list them on standard error.
    return nodes.read_pmi_types(f"{answer.out}\n{answer.words.replace('; ', chr(10))}") if answer else ()


def require_pmi(wanted: Iterable[str | None]) -> None:
    """Make sure that srun knows these values of --mpi; where it does not say what it knows, they are believed.

    Raises:
        UnknownName: It does not know one; the nearest is suggested.
    """
    known = pmi_types()
    for name in dict.fromkeys(wanted):
        # What one plugin is called with is its own business: pmix_v4, pmix=…
        if known and name is not None and name.partition(",")[0] not in {*known, "none"}:
            raise UnknownName("PMI", name, known, where="[slurm] pmi, srun --mpi=list")


def accounting_is_on() -> bool:
    """Whether Slurm keeps accounts, so that sacct knows of jobs that are long over."""
    answer = _ask_aside(["scontrol", "show", "config"])
    return answer is not None and nodes.keeps_accounts(answer.out)


def node_facts(partition: str | None = None) -> NodeFacts | None:
    """What the nodes of a partition (None: the default one) offer; None where sinfo does not say."""
    chosen = [f"--partition={partition}"] if partition else []
    answer = _ask_aside(["sinfo", "--noheader", "--exact", f"--format={nodes.SINFO_FORMAT}", *chosen])
    return nodes.read_sinfo(answer.out, partition) if answer else None


def node_states(partition: str | None = None) -> dict[str, NodeWord] | None:
    """What Slurm says of each node (of a partition), in its order; None where it does not answer."""
    # sinfo takes one of the two; a partition that is named is shown though it be hidden.
    chosen = f"--partition={partition}" if partition else "--all"
    argv = ["sinfo", "--Node", chosen, "--noheader", f"--format={nodes.STATES_FORMAT}"]
    answer = _ask_aside(argv)
    return nodes.read_states(answer.out) if answer else None


def expand_hosts(text: str) -> tuple[str, ...]:
    """'node[1-3]' as names, each once.

    Raises:
        Failure: scontrol does not understand it; its words.
        Mistake: There is no Slurm here.
    """
    names = _demand(["scontrol", "show", "hostnames", text], timeout_s=ASIDE_TIMEOUT_S).out.split()
    return tuple(dict.fromkeys(names))


def fold_hosts(names: Iterable[str]) -> str:
    """Names as a host list, such as 'node[1-3]'; by commas where scontrol cannot be asked."""
    joined = ",".join(names)
    answer = _ask_aside(["scontrol", "show", "hostlist", joined])
    return answer.out.strip() if answer and answer.out.strip() else joined


def switches() -> dict[str, tuple[str, ...]]:
    """The nodes on each switch that Slurm knows of; none where it has no topology."""
    answer = _ask_aside(["scontrol", "show", "topology"])
    found = nodes.read_topology(answer.out) if answer else {}
    return {name: expand_hosts(hosts) for name, hosts in found.items()}


def test(script: str) -> str:
    """Ask whether Slurm would take a script, without giving it; returns its sentence on when and where.

    Raises:
        RefusedJob: It would not, in its own words.
        Mistake: There is no Slurm here; or the job would be heterogeneous, or of several clusters.
        Unreachable: Slurm does not answer.
    """
    refusals.require_one_job(script)
    told = _ask_aside(["scontrol", "show", "federation"])
    refusals.require_one_cluster(
        cluster.read_federation(told.out) if told else (), os.environ.get("SLURM_CLUSTERS")
    )
    answer = ask(["sbatch", "--test-only"], stdin=script)
    if answer.is_silence:
        raise commands.unreachable(answer)
    if answer.code != 0:
        raise _refusal(answer.words)
    return answer.words or answer.out.strip()


def submit(script: Path, *, output: Path | None = None, timeout_s: float = commands.TIMEOUT_S) -> int:
    """Give a script to Slurm, once; returns the job's id.

    The job's working directory is the script's folder: it is on the file system that the nodes share.

    Args:
        script: The batch script.
        output: Where the job's own output goes; None: slurm.out beside the script.
        timeout_s: For how long an answer is waited for.

    Raises:
        RefusedJob: Slurm does not take it, in its own words.
        Ambiguous: Slurm did not answer; look for the job by its name before anything else.
        Unreachable: Slurm was not reached at all: there is no job.
        Mistake: There is no Slurm here, or its output cannot be where it should.
    """
    pattern = filename_pattern(output or script.with_name("slurm.out"))
    argv = ["sbatch", "--parsable", f"--output={pattern}", str(script)]
    try:
        answer = ask(argv, cwd=script.parent, timeout_s=timeout_s)
    except Unreachable as silence:
        raise Ambiguous(silence.what, do="The job may be there all the same.") from None
    if answer.code != 0:
        raise _failed_submission(answer)
    # With several clusters: 'id;cluster'.
    match = re.match(r"(\d+)(?:;(\S*)|$)", answer.out.strip().rpartition("\n")[2], re.ASCII)
    if match is None:
        raise Ambiguous(f"sbatch answered without a job id: {answer.out!r}.")
    if match[2]:
        _keep_to_cluster(match[2], match[1])
    return int(match[1])


def _keep_to_cluster(name: str, job_id: str) -> None:
    """A job on a cluster that nobody named is taken back: nothing here could follow it."""
    try:
        refusals.require_own_cluster(name, os.environ.get("SLURM_CLUSTERS"))
    except Mistake:
        _ask_aside(["scancel", f"--clusters={name}", job_id])
        raise


def filename_pattern(path: Path) -> str:
    """A path as Slurm's file name pattern: `%` begins a replacement there, and a backslash has no escape.

    Raises:
        Mistake: The path holds a backslash.
    """
    text = str(path)
    if "\\" in text:
        raise Mistake(
            f"Slurm cannot write to a path with a backslash: {text}.",
            do="Name another place with --store, $HPCDL_STORE or `store` in the site file.",
        )
    return text.replace("%", "%%")


def _failed_submission(answer: commands.Answer) -> HpcdlError:
    if not answer.is_silence:
        return _refusal(answer.words)
    # 'connect failure': nothing was ever sent. Otherwise the answer was lost, not the question.
    if "unable to contact slurm controller" in answer.words.lower():
        return commands.unreachable(answer)
    return Ambiguous(f"Slurm did not answer: '{answer.words}'.", do="The job may be there all the same.")


def _refusal(said: str) -> RefusedJob:
    sentence = _REFUSAL.sub("", said)
    return RefusedJob(f"Slurm refused the job: '{sentence}'.", do=_advise(sentence))


def _advise(sentence: str) -> str:
    """What this person could have named instead, where Slurm's words are about a name."""
    lower = sentence.lower()
    if "account" in lower:
        asked = ["sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={getpass.getuser()}"]
        return _list("Your accounts on this cluster", [*asked, "format=account"])
    if "partition" in lower:
        return _list("Partitions here", ["sinfo", "--noheader", "--format=%R"])
    return ""


def _list(title: str, argv: list[str]) -> str:
    answer = _ask_aside(argv)
    names = sorted({line.strip() for line in answer.out.splitlines() if line.strip()}) if answer else []
    return f"{title}: {', '.join(names)}." if names else ""


def find_by_name(name: str) -> int | None:
    """The newest job of this person with this name, in the queue or in today's and yesterday's accounts.

    Raises:
        Unreachable: Slurm does not answer.
        Mistake: There is no Slurm here.
    """
    mine = [f"--user={getpass.getuser()}", f"--name={name}"]
    queue = _demand(["squeue", "--noheader", "--states=all", "--format=%i", *mine])
    found = [int(line) for line in queue.out.split() if line.isdecimal()]
    if not found:
        argv = ["sacct", "--noheader", "--parsable2", "--allocations", "--starttime=now-1days"]
        accounts = _sacct.ask([*argv, "--format=JobIDRaw", *mine])
        found = [int(line) for line in accounts.split() if line.isdecimal()]
    return max(found, default=None)


def states(job_ids: Iterable[int]) -> dict[int, JobState]:
    """Where jobs stand: one question to squeue for all, then sacct, then scontrol for those still not settled.

    A job that none of the three knows is not in the answer.

    Raises:
        Unreachable: The controller does not answer.
        Mistake: There is no Slurm here.
    """
    wanted = set(job_ids)
    found = _ask_squeue(wanted) if wanted else {}
    gone = wanted - found.keys()
    if gone:
        found |= _ask_sacct(gone)
    # The database may lag behind: a job that it shows as running has left the queue.
    unsettled = {job_id for job_id in gone if job_id not in found or not found[job_id].is_over}
    for job_id in sorted(unsettled):
        state = _ask_scontrol(job_id)
        if state is not None:
            found[job_id] = state
    return found


def _ask_squeue(job_ids: set[int]) -> dict[int, JobState]:
    argv = ["squeue", "--noheader", "--states=all", f"--jobs={_join(job_ids)}"]
    answer = ask([*argv, f"--Format={words.SQUEUE_FORMAT}"])
    # That is what squeue says of a single job that it has forgotten.
    if "invalid job id" in answer.words.lower():
        return {}
    told = _accept("squeue", answer).out
    refusals.require_no_components(told)
    return words.read_squeue(told)


def _ask_sacct(job_ids: set[int]) -> dict[int, JobState]:
    argv = ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={_join(job_ids)}"]
    known = words.read_sacct(_sacct.ask([*argv, f"--format={words.SACCT_FORMAT}"]))
    return {job_id: state for job_id, state in known.items() if job_id in job_ids}


def energies(job_id: int) -> dict[int, tuple[float, float]]:
    """Joules and seconds of each step of a job for which Slurm has counted energy; empty where it does not."""
    argv = ["sacct", "--noheader", "--parsable2", f"--jobs={job_id}", f"--format={words.ENERGY_FORMAT}"]
    return words.read_energies(_sacct.ask(argv))


def _ask_scontrol(job_id: int) -> JobState | None:
    answer = _ask_aside(["scontrol", "--oneliner", "show", "job", str(job_id)])
    return words.read_scontrol(answer.out) if answer else None


def _join(job_ids: set[int]) -> str:
    return ",".join(str(job_id) for job_id in sorted(job_ids))


def cancel(job_id: int) -> None:
    """Ask Slurm to end a job; one that is over already is fine.

    Raises:
        Failure: Slurm does not do it, in its own words.
        Mistake: There is no Slurm here.
    """
    answer = ask(["scancel", str(job_id)])
    if answer.is_silence:
        raise commands.unreachable(answer)
    over = ("invalid job id", "already completing or completed")
    if answer.code != 0 and not any(phrase in answer.words.lower() for phrase in over):
        raise Failure(f"Slurm did not cancel job {job_id}: '{answer.words}'.")


class _Sacct:
    """Accounting may be off, late or gone; after some failures in a row it is not asked again by this process."""

    def __init__(self) -> None:
        self.failures = 0

    def ask(self, argv: list[str]) -> str:
        """Standard output, or nothing."""
        if self.failures >= SACCT_FAILURES_ALLOWED:
            return ""
        answer = _ask_aside(argv)
        self.failures = 0 if answer else self.failures + 1
        return answer.out if answer else ""


_sacct = _Sacct()


def _ask_aside(argv: list[str]) -> commands.Answer | None:
    """An answer that can be done without: None where there is none."""
    try:
        answer = ask(argv, timeout_s=ASIDE_TIMEOUT_S)
    except (Mistake, Unreachable):
        return None
    return answer if answer.code == 0 else None


def _demand(argv: list[str], *, timeout_s: float = commands.TIMEOUT_S) -> commands.Answer:
    return _accept(argv[0], ask(argv, timeout_s=timeout_s))


def _accept(program: str, answer: commands.Answer) -> commands.Answer:
    if answer.is_silence:
        raise commands.unreachable(answer)
    if answer.code != 0:
        raise Failure(f"{program} failed: '{answer.words}'.")
    return answer
