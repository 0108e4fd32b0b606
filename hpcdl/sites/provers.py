"""Which evidence proves which entry of a site file. An entry that nothing here can prove is told as not checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import hpcdl
from hpcdl.settings import flatten
from hpcdl.sites.proofs import Proof
from hpcdl.sites.software import SETUP, SOFTWARE
from hpcdl.sites.witnesses import list_words, prove_finding, tell_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcdl.sites.evidence import Evidence
    from hpcdl.sites.proofs import Verdict

# Slurm's refusals (slurm/src/common/slurm_errno.c) by the entry that they are about.
BLAMED = {
    "slurm.partition": r"partition",
    "slurm.account": r"account",
    "slurm.qos": r"\bqos\b",
    "slurm.constraint": r"feature|constraint",
    "slurm.reservation": r"reservation",
    "slurm.nodelist": r"node name|node list|nodelist",
    "slurm.exclude": r"exclude",
    "slurm.dependency": r"dependency",
    "slurm.memory": r"memory",
    "slurm.walltime": r"time ?limit|wall",
    "slurm.pmi": r"\bpmi\b",
    "node.gpus": r"gres|gpu",
    "slurm.options": r"option",
}
# In Slurm's environment of the job, what became of what was asked.
GRANTED = {
    "slurm.partition": "SLURM_JOB_PARTITION",
    "slurm.account": "SLURM_JOB_ACCOUNT",
    "slurm.qos": "SLURM_JOB_QOS",
}
UNSEEN = {
    "name": "a name, for readers",
    "tuned": "`hpcdl tune` measures these",
    "power": "what no node can tell; `hpcdl power sensors` says what can be metered",
    "cost": "a price, which no node can tell",
    "container": "the image and its runtime are proven as one: container.image",
    "setup.environment": "the job script sets it; what reads it is not known here",
}


def prove(evidence: Evidence) -> list[Proof]:
    """Every entry that somebody set, what follows for the rest from sinfo and defaults, and the software."""
    return [
        Proof(entry, value, *_prove_entry(evidence, entry, value)) for entry, value in list_entries(evidence)
    ]


def list_entries(evidence: Evidence) -> Iterator[tuple[str, Any]]:
    """Entries with their values, in the order of the site file."""
    job = evidence.job
    values = flatten(job.site.model_dump(mode="json"))
    set_here = {key for key in job.sources if key in values and values[key] is not None}
    number = evidence.standing.slurm_job_id if evidence.standing else None
    yield "job", number
    yield "nodes", job.nodes
    for key, value in values.items():
        if key == "slurm.pmi":
            yield key, evidence.world.pmi
        elif key == "setup.python":
            yield key, job.python
        elif key in set_here and key != "store":
            yield key, value
    yield "store", job.run_dir.rpartition("/")[0]
    for name in SOFTWARE:
        yield name, hpcdl.__version__ if name == "hpcdl" else None


def _prove_entry(evidence: Evidence, entry: str, value: Any) -> Verdict:
    known = PROVERS.get(entry)
    if known is not None:
        return known(evidence, value)
    unseen = next((why for name, why in UNSEEN.items() if f"{entry}.".startswith(f"{name}.")), None)
    if unseen is not None:
        return "not checked", unseen
    if entry.startswith("slurm."):
        return _prove_directive(evidence, entry, value)
    return "not checked", "nothing here knows how"


def _prove_job(evidence: Evidence, _: Any) -> Verdict:
    if evidence.refusal:
        return "refuted", evidence.refusal
    if not evidence.looks:
        return "refuted", f"{evidence.absence}; {evidence.end}"
    return "proven", f"it ran on {', '.join(evidence.hosts)}"


def _prove_nodes(evidence: Evidence, value: int) -> Verdict:
    if evidence.absence:
        return "not checked", evidence.absence
    told = f"{len(evidence.hosts)} of {value} nodes have told what they are: {', '.join(evidence.hosts)}"
    return ("proven" if len(evidence.hosts) == value else "refuted"), told


def _prove_directive(evidence: Evidence, entry: str, value: Any) -> Verdict:
    """Slurm has taken it, and has given what was asked for where it says so."""
    if evidence.refusal:
        return _judge_refusal(evidence, entry)
    if evidence.absence:
        return "not checked", evidence.absence
    told = evidence.environment.slurm if evidence.environment else {}
    granted = told.get(GRANTED.get(entry, ""))
    if granted is None:
        return "proven", "Slurm took it, and the job ran"
    asked = [part.strip() for part in str(value).split(",")]
    return ("proven" if granted in asked else "refuted"), f"the job's is {granted}"


def _judge_refusal(evidence: Evidence, entry: str) -> Verdict:
    blamed = re.search(BLAMED.get(entry, r"(?!)"), evidence.refusal, re.IGNORECASE)
    return ("refuted", evidence.refusal) if blamed else ("not checked", "Slurm did not take the job")


def _prove_cores(evidence: Evidence, value: int) -> Verdict:
    facts = evidence.facts
    if not evidence.looks and facts is not None and facts.cores < value:
        return "refuted", f"sinfo: the least of the nodes has {facts.cores}"
    return _compare(evidence, "cores", value, at_least=True)


def _prove_gpus(evidence: Evidence, value: int) -> Verdict:
    facts = evidence.facts
    if not evidence.looks and facts is not None and facts.gpus < value:
        return "refuted", f"sinfo: the least of the nodes has {facts.gpus}"
    return _compare(evidence, "gpus", value, at_least=not value)


def _compare(evidence: Evidence, name: str, value: int, *, at_least: bool) -> Verdict:
    """Each node's number against the site's; `at_least`: jobs may leave some of it alone."""
    if evidence.absence:
        return "not checked", evidence.absence
    numbers = {look.host: evidence.number(look, name) for look in evidence.looks}
    told = _tell(numbers)
    if any(number is None for number in numbers.values()):
        return "not checked", f"not every node tells: {told}"
    wrong = [n for n in numbers.values() if n is not None and (n < value or (n > value and not at_least))]
    return ("refuted" if wrong else "proven"), told


def _tell(numbers: dict[str, float | None]) -> str:
    """'8 on node1, node2; 4 on node3'."""
    by_value: dict[float | None, list[str]] = {}
    for host, number in numbers.items():
        by_value.setdefault(number, []).append(host)
    parts = (
        f"{'untold' if number is None else f'{number:g}'} on {', '.join(hosts)}"
        for number, hosts in by_value.items()
    )
    return "; ".join(parts)


def _prove_threads(evidence: Evidence, value: int) -> Verdict:
    hosts = evidence.environment.hosts if evidence.environment else ()
    counts = {
        host.host: len(host.affinity) / len(host.cores) for host in hosts if host.affinity and host.cores
    }
    if not counts:
        return "not checked", evidence.absence or tell_end(evidence) or "the kernel does not tell"
    right = all(count == value for count in counts.values())
    return ("proven" if right else "refuted"), f"threads of a core that ranks may use: {_tell({**counts})}"


def _prove_tasks(evidence: Evidence, _: int) -> Verdict:
    return prove_finding(evidence, "one rank for each place")


def _prove_gpu(evidence: Evidence, value: str) -> Verdict:
    seen = list_words(evidence, "gpu")
    if not seen:
        return "not checked", evidence.absence or "the nodes do not tell"
    right = all(_is_named(value, name) for name in seen)
    return ("proven" if right else "refuted"), f"the nodes call it {' and '.join(seen)}"


def _is_named(value: str, name: str) -> bool:
    """Whether all that the site says stands in the driver's name: 'a100-80gb' in 'NVIDIA A100-SXM4-80GB'."""
    return all(part in name.lower() for part in re.findall(r"[a-z0-9]+", value.lower()))


def _prove_network(evidence: Evidence, value: str) -> Verdict:
    """A node without it falls back on the interface of its default route, which has another name."""
    if evidence.absence:
        return "not checked", evidence.absence
    wanted = tuple(part.strip().lstrip("=") for part in value.split(",") if part.strip())
    lacking = [look for look in evidence.looks if not look.words.get("nic_name", "").startswith(wanted)]
    if lacking:
        names = ", ".join(look.host for look in lacking)
        other = lacking[0].words.get("nic_name", "none")
        return "refuted", f"{names}: no such interface; the default route has {other}"
    return "proven", ", ".join(f"{look.words.get('nic', '')} on {look.host}" for look in evidence.looks)


def _prove_pmi(evidence: Evidence, value: str | None) -> Verdict:
    """Ranks that share no PMI with their MPI are worlds of one each, which the preflight refuses."""
    world = evidence.world
    if evidence.refusal:
        return _judge_refusal(evidence, "slurm.pmi")
    if value in {None, "none"}:
        return "not checked", "the ranks of this engine meet without one"
    environment = evidence.environment
    if environment is None:
        told = tell_end(evidence)
        return ("refuted" if "PMI" in told else "not checked"), told
    if environment.engine != "horovod" or environment.transport == "gloo":
        return "not checked", f"{environment.engine} over {environment.transport} meets without one"
    if world.world_size == 1:
        return "not checked", "one rank meets nobody: take --nodes 2"
    outcome, told = prove_finding(evidence, "world size")
    return outcome, f"one world: {told}" if outcome == "proven" else told


def _prove_walltime(evidence: Evidence, value: str) -> Verdict:
    """The check itself is shorter; a job of the asked length was given to Slurm for a test."""
    outcome, told = _prove_directive(evidence, "slurm.walltime", value)
    return outcome, "sbatch --test-only took it" if outcome == "proven" else told


def _prove_store(evidence: Evidence, _: str) -> Verdict:
    """What is read here was written there."""
    if evidence.absence:
        return "not checked", evidence.absence
    return "proven", f"what {', '.join(evidence.hosts)} wrote is read here"


PROVERS: dict[str, Callable[[Evidence, Any], Verdict]] = {
    "job": _prove_job,
    "nodes": _prove_nodes,
    "slurm.pmi": _prove_pmi,
    "slurm.walltime": _prove_walltime,
    "node.cores": _prove_cores,
    "node.threads_per_core": _prove_threads,
    "node.gpus": _prove_gpus,
    "node.gpu": _prove_gpu,
    "node.network": _prove_network,
    "node.tasks_per_node": _prove_tasks,
    "store": _prove_store,
    **SETUP,
    **SOFTWARE,
}
