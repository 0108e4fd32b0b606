"""What a check of nodes leaves behind: a line of `checks-<host>.jsonl` for each thing that was looked at."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hpcdl.frozen import Frozen
from hpcdl.records import Conditions, Reading

CheckName = Literal[
    "identity",  # what the node is: processor, memory, GPUs, driver, network, kernel, governor, limits, versions
    "topology",  # how it is wired: NUMA nodes, GPUs, network adapters, and how near they are to each other
    "arithmetic",  # losses and weights of a deterministic training, as a digest: silent corruption
    "matrix",  # matrix product
    "memory",  # memory bandwidth
    "storage",  # reading the data set
    "data",  # every file of the data set: readable, decodable, the same as elsewhere
    "decode",  # DALI's decode rate
    "train",  # training alone, one rank on each device
    "health",  # temperature, throttling, ECC, XID, link width
    "soak",  # training on and on: drift and heat
]
# 'Could not look' is never 'all is well': the tool is missing, or the machine does not tell.
Outcome = Literal["looked", "could not look"]


class Checked(Frozen):
    """One look of one rank: numbers by metric's last word with its unit (`images_per_s`), words by trait (`kernel`).

    `device` is a GPU's UUID, 'cpu' where the rank computes on the processor, and empty for what belongs to the node.
    `model` is that device's name, by which only like is compared with like. `subject` is the network, where there is
    one. A number that could not be read is missing, with the reason. Times are of this host's monotonic clock, s.
    """

    schema_version: Literal[1] = 1
    check: CheckName
    rank: int
    local_rank: int
    host: str
    device: str = ""
    model: str = ""
    subject: str = ""
    repeat: int = 1
    outcome: Outcome
    reason: str = ""
    numbers: dict[str, Reading] = Field(default_factory=dict)
    words: dict[str, str] = Field(default_factory=dict)
    conditions: Conditions | None = None
    begin_s: float
    end_s: float
