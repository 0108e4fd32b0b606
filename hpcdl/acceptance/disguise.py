"""Whether the nodes of an acceptance are as many machines as they seem."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.acceptance.fleet import is_gpu
from hpcdl.acceptance.looks import BOOT_ID
from hpcdl.analysis.machines import Machine, find_disguise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcdl.acceptance.node_launches import NodeLaunch
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.checks import Checked


def find_rehearsal(
    launches: Sequence[NodeLaunch], results: Sequence[LaunchResult], *, local: bool
) -> str | None:
    """Why this is a rehearsal, over all hosts that any record names; None: it is not.

    A host's boot id is in the environment of a launch that trains or probes, in the looks at what a node is, and in
    the first line of its sampler. Where none of these tells it, nobody knows how many machines there are.
    """
    together = [machine for result in results for machine in result.machines]
    known = {machine.host: machine.boot_id for machine in together}
    alone = [machine for launch in launches for machine in _list_machines(launch)]
    known = {machine.host: machine.boot_id for machine in alone if machine.boot_id} | known
    alone = [_complete(machine, known.get(machine.host, "")) for machine in alone]
    return find_disguise([*alone, *together], local=local)


def _complete(machine: Machine, boot_id: str) -> Machine:
    return machine if machine.boot_id else Machine(**{**vars(machine), "boot_id": boot_id})


def _list_machines(launch: NodeLaunch) -> Iterator[Machine]:
    sampled = {} if all(map(_tell_boot_id, launch.looks.values())) else _read_samplers(launch)
    for looks in launch.looks.values():
        host = looks[0].host
        yield _describe(host, looks, _tell_boot_id(looks) or sampled.get(host, ""))


def _read_samplers(launch: NodeLaunch) -> dict[str, str]:
    return {
        trace.host: trace.opening.boot_id
        for trace in launch.folder.traces()
        if trace.opening.boot_id != "unknown"
    }


def _tell_boot_id(looks: Sequence[Checked]) -> str:
    return next((look.words[BOOT_ID] for look in looks if BOOT_ID in look.words), "")


def _describe(host: str, looks: Sequence[Checked], boot_id: str) -> Machine:
    ranks = tuple(sorted({look.local_rank for look in looks}))
    own = {look.local_rank: look for look in looks if look.device and look.check != "health"}
    gpus = [look for look in own.values() if is_gpu(look.device)]
    return Machine(
        host=host,
        boot_id=boot_id,
        ranks=ranks,
        cpu="",
        cores_visible=0,
        threads=0,
        memory_bytes=None,
        gpus=tuple(look.model for look in gpus),
        gpu_uuids=tuple(look.device for look in gpus),
    )
