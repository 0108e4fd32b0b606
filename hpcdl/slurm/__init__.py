"""Slurm, as far as hpcdl needs it. The only package that starts sbatch, squeue, sacct, scancel, scontrol, sinfo, srun.

`commands` starts programs, `words` and `nodes` read their text and are pure, `client` puts them together.
"""

from __future__ import annotations

from hpcdl.slurm.client import (
    accounting_is_on,
    cancel,
    energies,
    find_by_name,
    is_here,
    node_facts,
    pmi_types,
    states,
    submit,
    test,
    version,
)
from hpcdl.slurm.commands import Ambiguous, Unreachable
from hpcdl.slurm.nodes import NodeFacts
from hpcdl.slurm.pace import waits_s
from hpcdl.slurm.words import JobState, State

__all__ = [
    "Ambiguous",
    "JobState",
    "NodeFacts",
    "State",
    "Unreachable",
    "accounting_is_on",
    "cancel",
    "energies",
    "find_by_name",
    "is_here",
    "node_facts",
    "pmi_types",
    "states",
    "submit",
    "test",
    "version",
    "waits_s",
]
