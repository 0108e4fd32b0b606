"""Slurm, as far as hpcdl needs it. The only package that starts sbatch, squeue, sacct, scancel, scontrol, sinfo, srun.

`commands` starts programs; `words`, `nodes` and `cluster` read their text and are pure; `client` and `survey` put them
together; `refusals` says which jobs hpcdl does not follow.
"""

from __future__ import annotations

from hpcdl.slurm.client import (
    accounting_is_on,
    cancel,
    energies,
    expand_hosts,
    find_by_name,
    fold_hosts,
    is_here,
    node_facts,
    node_states,
    pmi_types,
    require_pmi,
    states,
    submit,
    switches,
    test,
    version,
)
from hpcdl.slurm.commands import Ambiguous, Unreachable
from hpcdl.slurm.nodes import NodeFacts, NodeWord, is_fit
from hpcdl.slurm.pace import waits_s
from hpcdl.slurm.words import JobState, State

__all__ = [
    "Ambiguous",
    "JobState",
    "NodeFacts",
    "NodeWord",
    "State",
    "Unreachable",
    "accounting_is_on",
    "cancel",
    "energies",
    "expand_hosts",
    "find_by_name",
    "fold_hosts",
    "is_fit",
    "is_here",
    "node_facts",
    "node_states",
    "pmi_types",
    "require_pmi",
    "states",
    "submit",
    "switches",
    "test",
    "version",
    "waits_s",
]
