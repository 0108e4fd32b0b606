"""What a rank says to its supervisor: JSON lines down a pipe. A rank never writes to the store itself."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter

from hpcdl.checks import Checked
from hpcdl.frozen import Frozen
from hpcdl.probes import Probe
from hpcdl.records import Environment, Step, Summary
from hpcdl.topology import NodeTopology


def _make_printable(text: str) -> str:
    # The name of a file that is no UTF-8 comes with halves of surrogate pairs, which no JSON can hold.
    return text.encode(errors="backslashreplace").decode()


class Stepped(Frozen):
    kind: Literal["step"] = "step"
    step: Step


class Prepared(Frozen):
    kind: Literal["environment"] = "environment"
    environment: Environment


class Verified(Frozen):
    """The data were decoded from end to end; launches of this run that see the same listing need not repeat it."""

    kind: Literal["verified"] = "verified"
    digest: str


class Wired(Frozen):
    """How the node of this rank is wired; the first rank of each node tells it."""

    kind: Literal["wired"] = "wired"
    topology: NodeTopology


class Measured(Frozen):
    kind: Literal["summary"] = "summary"
    summary: Summary


class Probed(Frozen):
    kind: Literal["probe"] = "probe"
    probe: Probe


class Looked(Frozen):
    """One look of a check; the supervisor writes it down at once."""

    kind: Literal["looked"] = "looked"
    checked: Checked


class Ended(Frozen):
    """The rank's last words, whichever they are."""

    kind: Literal["ended"] = "ended"
    outcome: Literal["completed", "refused", "failed"]
    reason: Annotated[str, AfterValidator(_make_printable)] = ""


Message = Stepped | Prepared | Verified | Measured | Probed | Looked | Wired | Ended
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def parse_message(line: bytes) -> Message:
    """One line of the pipe. Raises pydantic's ValidationError for a torn one."""
    return _MESSAGE.validate_json(line)


class Reporter:
    """The writing end. Writes block only when the supervisor, which does nothing else, has fallen 64 KiB behind."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, message: Message) -> None:
        data = message.model_dump_json().encode() + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]
