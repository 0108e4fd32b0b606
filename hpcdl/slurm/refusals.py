"""Jobs that hpcdl does not follow, and says so before they cost anything: of several clusters, or of several parts.

A run is one job with one number on one cluster. A federated job runs on whichever sibling is free first, under records
that say one machine; a heterogeneous job is several allocations that differ, in which a rank's number means nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Sequence

# man sbatch, HETEROGENEOUS JOB SUPPORT: "hetjob" on a line of its own between the directives of two components;
# "packjob" until 20.11.
_SEPARATOR = re.compile(r"^#SBATCH\s+(?:hetjob|packjob)\b", re.MULTILINE)
_CLUSTERS = re.compile(r"^#SBATCH\s+(?:--clusters?\b|-M)", re.MULTILINE)
# man squeue and man sacct: a component is the leader's number, a plus, and its own place.
_COMPONENT = re.compile(r"^\s*(?P<leader>\d{1,18})\+(?P<offset>\d{1,6})(?=[|\s.]|$)", re.MULTILINE | re.ASCII)
HETEROGENEOUS = (
    "hpcdl measures nodes that are asked for alike; a heterogeneous job is several allocations that differ"
)
ONE_CLUSTER = "Name the one cluster that is meant: export SLURM_CLUSTERS=NAME."


def require_one_job(script: str) -> None:
    """Raise Mistake where a batch script is one of several components, or is for several clusters."""
    if _SEPARATOR.search(script):
        raise Mistake(
            f"the batch script has a line '#SBATCH hetjob': {HETEROGENEOUS}.",
            do="Take it out of the template that [slurm] template names.",
        )
    if _CLUSTERS.search(script):
        raise Mistake(
            "the batch script names clusters (--clusters), and then Slurm's programs are asked about another one.",
            do=ONE_CLUSTER,
        )


def require_one_cluster(federation: Sequence[str], named: str | None) -> None:
    """Raise Mistake where the job could begin on another cluster than the one whose nodes were looked at.

    Args:
        federation: Its name, and the other clusters in it; empty where there is none.
        named: What $SLURM_CLUSTERS says.
    """
    chosen = [part for part in (named or "").split(",") if part.strip()]
    if len(chosen) > 1 or chosen == ["all"]:
        raise Mistake(
            f"SLURM_CLUSTERS={named} lets the job begin on any of several clusters, and a run is of one.",
            do=ONE_CLUSTER,
        )
    if len(federation) > 1 and not chosen:
        name, *siblings = federation
        raise Mistake(
            f"this cluster is in the federation {name}: the job could begin on {' or '.join(siblings)} as well.",
            do=ONE_CLUSTER,
        )


def require_own_cluster(cluster: str, named: str | None) -> None:
    """Raise Mistake where sbatch has given the job to a cluster that nobody named."""
    if cluster != (named or "").strip():
        raise Mistake(
            f"Slurm gave the job to the cluster {cluster!r}, which was not asked for; it was cancelled again.",
            do=ONE_CLUSTER,
        )


def require_no_components(text: str) -> None:
    """Raise Mistake where squeue or sacct answers with a component of a heterogeneous job ('123+0')."""
    found = _COMPONENT.search(text)
    if found:
        raise Mistake(
            f"job {found['leader']} is a heterogeneous one ({found[0].strip()}): {HETEROGENEOUS}.",
            do="Submit without the sbatch wrapper or plug-in that splits jobs.",
        )
