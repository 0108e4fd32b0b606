"""What Slurm tells of a cluster -> a site file with comments, for a person to complete. Pure; it invents nothing.

What was read stands as a value with its source beside it. What there is a choice of, or what nobody could know, is
commented out, with what it could be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.acceptance.toml_text import write_comment, write_key, write_value
from hpcdl.slurm.cluster import needs_account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.acceptance.toml_text import Value
    from hpcdl.slurm.cluster import Partition
    from hpcdl.slurm.survey import Survey

# By how many MPI libraries speak them; 'none' lets nobody meet.
PREFERRED_PMI = ("pmix", "cray_shasta", "pmi2")
SCONTROL_CONFIG = "scontrol show config"


def write_site(found: Survey) -> str:
    """The text of a site file, which `hpcdl.site.load` takes."""
    parts = (_write_head, _write_slurm, _write_node, _write_setup, _write_container, _write_rest)
    return "\n".join("\n".join(part(found)) + "\n" for part in parts)


def choose_pmi(found: Survey) -> str | None:
    """The one that ranks most likely share with their MPI; None: srun names none by which they could meet."""
    default = found.settings.get("MpiDefault", "none")
    wishes = (PREFERRED_PMI[0], default, *PREFERRED_PMI[1:])
    return next((name for name in wishes if name in found.pmi and name != "none"), None)


def _set(name: str, value: Value, source: str) -> str:
    """A value that was read, and where."""
    return _beside(f"{write_key(name)} = {write_value(value)}", source)


def _leave(name: str, value: Value, why: str) -> str:
    """A value that a person may want: commented out."""
    return _beside(f"# {write_key(name)} = {write_value(value)}", why)


def _beside(entry: str, remark: str) -> str:
    [comment] = write_comment([remark])
    return f"{entry:<34}  {comment}"


def _write_head(found: Survey) -> Iterator[str]:
    yield from write_comment(
        [
            f"A site file for hpcdl, written by `hpcdl site init` from what Slurm {found.version} tells.",
            "Beside each value stands where it was read. What is commented out is for you to complete.",
            "Then: hpcdl site check, which proves each entry with a job of a minute. See docs/sites.md.",
        ]
    )
    yield ""
    name = found.settings.get("ClusterName")
    yield _set("name", name, SCONTROL_CONFIG) if name else _leave("name", "juno", "Slurm does not tell one")
    yield _leave("store", "/shared/hpcdl", "where runs are kept: a folder that all nodes see and can write")


def _write_slurm(found: Survey) -> Iterator[str]:
    yield "[slurm]"
    yield from _write_partition(found)
    yield from _write_pmi(found)
    yield from _write_account(found)
    partition = found.partition
    if partition.qos not in {None, "ALL"}:
        yield _leave("qos", (partition.qos or "").partition(",")[0], f"the partition allows: {partition.qos}")
    if partition.max_time:
        yield _leave(
            "walltime",
            "0:30:00",
            f"estimated where it is left out; at most {partition.max_time}, by default "
            f"{partition.default_time or 'that'} (scontrol show partition)",
        )
    if partition.memory_mb:
        yield _leave(
            "memory", f"{partition.memory_mb}M", "what the nodes have (sinfo); left out: Slurm's default"
        )


def _write_partition(found: Survey) -> Iterator[str]:
    chosen = found.partition
    yield _set("partition", chosen.name, describe_partition(chosen))
    others = [one for one in found.partitions.values() if one.name != chosen.name]
    for other in others:
        yield _leave("partition", other.name, describe_partition(other))


def describe_partition(partition: Partition) -> str:
    """Nodes, cores, memory, GPUs and longest walltime of a partition in a few words."""
    facts = partition.facts
    parts = ["Slurm's default"] if partition.is_default else []
    if facts is not None:
        threads = f" of {facts.threads_per_core} threads" if facts.threads_per_core > 1 else ""
        parts += [f"{facts.nodes} nodes", f"{facts.cores} cores{threads}"]
        parts += [f"{partition.memory_mb} MB"] if partition.memory_mb else []
        parts += [f"{facts.gpus} GPUs{f' ({facts.gpu})' if facts.gpu else ''}"] if facts.gpus else []
    parts += [f"at most {partition.max_time}"] if partition.max_time else []
    if partition.accounts not in {None, "ALL"}:
        parts.append(f"for accounts {partition.accounts}")
    if partition.state not in {"", "UP"}:
        parts.append(f"state {partition.state}")
    return ", ".join(parts) or "sinfo tells nothing of its nodes"


def _write_pmi(found: Survey) -> Iterator[str]:
    chosen = choose_pmi(found)
    source = "srun --mpi=list"
    others = [name for name in found.pmi if name not in {chosen, "none"}]
    if chosen is None:
        listed = ", ".join(found.pmi) or "it does not answer"
        yield from write_comment([f"{source} names no PMI by which MPI ranks could meet ({listed})."])
        yield from write_comment(["Without one, train over Gloo or NCCL: --engine ddp, or --transport gloo."])
        return
    beside = f"; it has {', '.join(others)} as well" if others else ""
    default = found.settings.get("MpiDefault")
    yield _set("pmi", chosen, f"{source}{beside}{f'; MpiDefault is {default}' if default else ''}")


def _write_account(found: Survey) -> Iterator[str]:
    enforced = needs_account(found.settings)
    why = "Slurm refuses jobs without one" if enforced else "whom jobs are charged to, where that is counted"
    yours = f"; yours: {', '.join(found.accounts)} (sacctmgr)" if found.accounts else ""
    kept = found.settings.get("AccountingStorageType", "accounting_storage/none")
    yield _leave("account", found.accounts[0] if found.accounts else "project", f"{why}{yours}; {kept}")


def _write_node(found: Survey) -> Iterator[str]:
    yield "[node]"
    yield from _write_facts(found)
    yield _leave(
        "network", "hsn0", "the interface between the nodes (`ip link` on a node): no login node shows it"
    )


def _write_facts(found: Survey) -> Iterator[str]:
    facts, node = found.partition.facts, found.node
    if facts is None:
        yield from write_comment(["sinfo tells nothing of the nodes of this partition."])
        return
    seen = f"; {node.name} has {node.cores} (scontrol show node)" if node and node.cores else ""
    yield _set("cores", facts.cores, f"sinfo: the least of {facts.nodes} nodes{seen}")
    yield _set("threads_per_core", facts.threads_per_core, "sinfo: what Slurm counts as CPUs of a core")
    yield _set("gpus", facts.gpus, "sinfo: GRES gpu of each node")
    if facts.gpus:
        kind = facts.gpu or (node.gpu if node else None)
        yield (
            _set("gpu", kind, "its type in GRES")
            if kind
            else _leave("gpu", "H100", "its name, for readers: GRES has no type")
        )
    if node is not None and node.architecture:
        yield from write_comment(
            [f"{node.name}: {node.architecture}{f', {node.system}' if node.system else ''}"]
        )


def _write_setup(found: Survey) -> Iterator[str]:
    yield "[setup]"
    yield from write_comment(
        [
            "How a job comes to its software (docs/software.md). Left out: the Python that hpcdl was called with."
        ]
    )
    modules = f"found here: {found.modules}" if found.modules else "no module command was found here"
    yield _leave("modules", ["cuda", "openmpi"], modules)
    yield _leave(
        "spack", "hpcdl", f"found here: {found.spack}" if found.spack else "Spack was not found here"
    )
    yield _leave("venv", "/shared/venv", "a virtual environment that all nodes see")


def _write_container(found: Survey) -> Iterator[str]:
    told = ", ".join(f"{name} ({where})" for name, where in found.containers.items())
    yield from write_comment([f"Containers found here: {told or 'none'}."])
    pyxis = "pyxis" in found.containers
    yield "# [container]"
    yield _leave("runtime", "pyxis" if pyxis else "apptainer", "apptainer or pyxis")
    yield _leave("image", "/shared/hpcdl.sqsh" if pyxis else "/shared/hpcdl.sif", "a file that all nodes see")


def _write_rest(found: Survey) -> Iterator[str]:  # noqa: ARG001 (each part is given the same)
    yield from write_comment(["What no program can know; without it costs and facility energy are missing."])
    yield "# [cost]"
    yield _leave("currency", "EUR", "docs/cost.md has all keys")
    yield "# [power]"
    yield _leave("pue", 1.2, "power usage effectiveness of the building (ISO/IEC 30134-2)")
