"""All that Slurm tells of a cluster to whoever asks from a login node: light questions, each with a time limit."""

from __future__ import annotations

import getpass
import os
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcdl.errors import Failure, Mistake, UnknownName
from hpcdl.slurm import client, cluster, commands
from hpcdl.slurm.commands import Unreachable, ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.slurm.cluster import NodeAnswer, Partition

TIMEOUT_S = 15.0
PROGRAMS = ("sinfo", "scontrol", "srun", "sbatch")


@dataclass(frozen=True)
class Survey:
    """What was told. `settings` are those of `scontrol show config`; `partition` is the chosen one of `partitions`.

    `accounts` are those of this person; `containers`, `modules` and `spack` are what was found here, by what they
    were found with.
    """

    version: str
    settings: Mapping[str, str]
    partitions: Mapping[str, Partition]
    partition: Partition
    node: NodeAnswer | None
    pmi: tuple[str, ...]
    accounts: tuple[str, ...]
    containers: Mapping[str, str]
    modules: str | None
    spack: str | None


def survey(partition: str | None = None) -> Survey:
    """Ask everything that a login node can be asked; changes nothing.

    Args:
        partition: The one that jobs are to go to; None: Slurm's default, else the first that is up.

    Raises:
        Mistake: There is no Slurm here.
        UnknownName: There is no such partition.
        Unreachable: The controller does not answer.
        Failure: A question was refused, in Slurm's words; or there is no partition.
    """
    require_programs()
    settings = cluster.read_settings(_demand(["scontrol", "show", "config"]))
    partitions = _list_partitions()
    chosen = choose_partition(partitions, partition)
    return Survey(
        version=settings.get("SLURM_VERSION") or client.version(),
        settings=settings,
        partitions=partitions,
        partition=chosen,
        node=_look_at_node(chosen.name),
        pmi=client.pmi_types(),
        accounts=_list_accounts(settings),
        containers=find_containers(),
        modules=os.environ.get("LMOD_CMD") or os.environ.get("MODULESHOME"),
        spack=os.environ.get("SPACK_ROOT") or shutil.which("spack"),
    )


def require_programs() -> None:
    """Raise Mistake where one of Slurm's programs is not on PATH."""
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    if lacking:
        raise Mistake(
            f"a site file describes a Slurm cluster, and {', '.join(lacking)} "
            f"{'is' if len(lacking) == 1 else 'are'} not on PATH here.",
            do="Run it on a login node. On one machine no site file is needed: hpcdl run smoke, "
            "hpcdl accept run SUITE --local.",
        )


def choose_partition(partitions: Mapping[str, Partition], named: str | None) -> Partition:
    """The one that is named, else Slurm's default, else the first that is up.

    Raises:
        UnknownName: There is none of that name.
        Failure: There is no partition at all.
    """
    if named is not None:
        if named not in partitions:
            raise UnknownName("partition", named, partitions, where="--partition")
        return partitions[named]
    if not partitions:
        raise Failure(
            "Slurm shows no partition to you.",
            do="See `scontrol show partition`; a partition may be hidden from those who may not use it.",
        )
    default = [one for one in partitions.values() if one.is_default]
    up = [one for one in partitions.values() if one.state in {"UP", ""}]
    return next(iter([*default, *up, *partitions.values()]))


def find_containers() -> dict[str, str]:
    """Runtimes of containers, each with what it was found by."""
    found = {name: path for name in ("apptainer", "singularity") if (path := shutil.which(name))}
    # The plug-in's options stand in srun's own help (its README, "Usage").
    if "--container-image" in (_ask_aside(["srun", "--help"]) or ""):
        found["pyxis"] = "srun --help"
    return found


def _list_partitions() -> dict[str, Partition]:
    told = cluster.read_partitions(_demand(["scontrol", "--oneliner", "show", "partition"]))
    argv = ["sinfo", "--noheader", "--exact", "--all", f"--format={cluster.PARTITIONS_FORMAT}"]
    sizes = cluster.read_sizes(_demand(argv))
    return {
        name: replace(one, facts=sizes[name][0], memory_mb=sizes[name][1]) if name in sizes else one
        for name, one in told.items()
    }


def _look_at_node(partition: str) -> NodeAnswer | None:
    """The first node that can be had; where none can, the first."""
    words = client.node_states(partition) or {}
    name = next((word.node for word in words.values() if word.is_fit), next(iter(words), None))
    answer = _ask_aside(["scontrol", "--oneliner", "show", "node", name]) if name else None
    return cluster.read_node(answer) if answer else None


def _list_accounts(settings: Mapping[str, str]) -> tuple[str, ...]:
    if "slurmdbd" not in settings.get("AccountingStorageType", ""):
        return ()
    argv = ["sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={getpass.getuser()}"]
    answer = _ask_aside([*argv, "format=account"]) or ""
    return tuple(sorted({line.strip() for line in answer.splitlines() if line.strip()}))


def _ask_aside(argv: list[str]) -> str | None:
    try:
        answer = ask(argv, timeout_s=TIMEOUT_S)
    except (Mistake, Unreachable):
        return None
    return answer.out if answer.code == 0 else None


def _demand(argv: list[str]) -> str:
    answer = ask(argv, timeout_s=TIMEOUT_S)
    if answer.is_silence:
        raise commands.unreachable(answer)
    if answer.code != 0:
        raise Failure(f"{' '.join(argv)} failed: '{answer.words}'.")
    return answer.out
