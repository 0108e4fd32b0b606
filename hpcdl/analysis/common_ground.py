"""At which boundary the energy of several configurations may be compared: the widest that all of them have alike.

Facility is the node times the PUE; node is wider than device. Figures are alike at a boundary where they leave out the
same things, and where either all of them were measured or all of them hold estimates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.analysis.energy import EnergyResult
from hpcdl.analysis.readings import is_absent
from hpcdl.errors import Mistake, UnknownName
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.analysis.boundaries import Boundary
    from hpcdl.analysis.energy import Figure
    from hpcdl.analysis.launch import LaunchResult

WIDEST_FIRST: tuple[Boundary, ...] = ("facility", "node", "device")
# Where something is metered: the facility is the node times the PUE.
NARROW: tuple[Boundary, Boundary] = ("node", "device")


@dataclass(frozen=True)
class Contender:
    """One configuration that wants to be compared: what to call it, its launches, and whether its PUE is known."""

    name: str
    launches: Sequence[LaunchResult]
    has_pue: bool


def find_figure(launch: LaunchResult, boundary: Boundary) -> Figure | Missing:
    """What a launch has at a boundary, without the PUE: facility is metered at the node.

    A launch has no figure of its node where that would be of the same things as that of its devices: then that one is.
    """
    if not isinstance(launch.energy, EnergyResult):
        return launch.energy
    device = launch.energy.at("device")
    found = device if boundary == "device" else launch.energy.at("node") or device
    if found is None:
        return Missing(missing="nothing meters the devices by themselves")
    return found


def find_whole(launches: Sequence[LaunchResult], boundary: Boundary) -> list[Figure] | Missing:
    """The figures that launches of one thing have at a boundary, without the PUE; missing where none has any.

    A launch whose meters failed takes nothing away from what the others have seen.
    """
    found = [find_figure(launch, boundary) for launch in launches]
    figures = [figure for figure in found if not isinstance(figure, Missing)]
    whole = [figure for figure in figures if not isinstance(figure.j_per_image, Missing)] or figures
    absent = (figure for figure in found if isinstance(figure, Missing))
    return whole or next(absent, Missing(missing="nothing was metered"))


def choose_boundary(contenders: Sequence[Contender], wanted: str | None = None) -> Boundary | Missing:
    """The widest boundary that all contenders have alike; those without any energy have no say.

    Args:
        contenders: What is to be compared.
        wanted: A boundary that was asked for by name.

    Raises:
        UnknownName: There is no such boundary.
        Mistake: The one asked for is not there, or not alike, for all of them; the message says who lacks what.
    """
    if wanted is not None and wanted not in WIDEST_FIRST:
        raise UnknownName("boundary", wanted, WIDEST_FIRST)
    lacks = [_find_lack(one) for one in contenders]
    metered = [one for one, lack in zip(contenders, lacks, strict=True) if lack is None]
    if not metered:
        return _refuse_unmetered(next(lack for lack in lacks if lack), wanted)
    obstacles = {boundary: _find_obstacle(boundary, metered) for boundary in WIDEST_FIRST}
    if wanted is not None:
        return _insist(wanted, obstacles)
    free = (boundary for boundary, obstacle in obstacles.items() if obstacle is None)
    told = "; ".join(f"{boundary}: {obstacle}" for boundary, obstacle in obstacles.items())
    return next(free, Missing(missing=f"there is no boundary that all of these have alike ({told})"))


def _find_lack(one: Contender) -> Missing | None:
    """Why a contender has no energy that could be believed, at any boundary; None: it has some."""
    node, device = (_gather_kinds(boundary, one) for boundary in NARROW)
    return node if isinstance(node, Missing) and isinstance(device, Missing) else None


def _refuse_unmetered(reason: Missing, wanted: str | None) -> Missing:
    if wanted is None:
        return reason
    raise Mistake(
        f"there is no energy at the boundary {wanted!r}: {reason.missing}.",
        do="Leave --boundary out, or measure with power: `hpcdl power sensors` says what a node can meter.",
    )


def _insist(wanted: str, obstacles: Mapping[Boundary, str | None]) -> Boundary:
    boundary = next(one for one in WIDEST_FIRST if one == wanted)
    obstacle = obstacles[boundary]
    if obstacle is None:
        return boundary
    possible = [one for one, other in obstacles.items() if other is None]
    instead = (
        f"Possible here: {', '.join(possible)}." if possible else "No boundary is the same for all of these."
    )
    raise Mistake(
        f"energy at the boundary {wanted!r} cannot be compared here: {obstacle}.",
        do=f"{instead} docs/power.md says what each boundary needs.",
    )


def _find_obstacle(boundary: Boundary, metered: Sequence[Contender]) -> str | None:
    """What keeps these from being compared at a boundary, by name; None: nothing does."""
    if boundary == "facility":
        without = [one.name for one in metered if not one.has_pue]
        if without:
            return f"{', '.join(without)}: no PUE is known (pue in [cost] of the site file)"
    seen: dict[tuple[str, bool], str] = {}
    for one in metered:
        kinds = _gather_kinds(boundary, one)
        if isinstance(kinds, Missing):
            return f"{one.name}: {kinds.missing}"
        for kind, words in kinds.items():
            seen.setdefault(kind, f"{one.name} has {words}")
    return None if len(seen) == 1 else "; ".join(seen.values())


def _gather_kinds(boundary: Boundary, one: Contender) -> dict[tuple[str, bool], str] | Missing:
    """What the figures of a contender are of, with the same in words; missing where it has none to show."""
    found = [find_figure(launch, boundary) for launch in one.launches]
    figures = [figure for figure in found if not isinstance(figure, Missing)]
    # What the gate withholds still says what it is of.
    shown = [figure for figure in figures if not is_absent(figure.j_per_image)]
    if not shown:
        reasons = [figure.j_per_image for figure in figures] + [f for f in found if isinstance(f, Missing)]
        return next(reason for reason in reasons if isinstance(reason, Missing))
    return {_name_kind(boundary, figure): _describe(figure) for figure in shown}


def _name_kind(boundary: Boundary, figure: Figure) -> tuple[str, bool]:
    # At the device the parts themselves are compared, at the node what is left out of it.
    alike = ", ".join(sorted(figure.kinds)) if boundary == "device" else figure.uncovered
    return alike, figure.estimated > 0


def _describe(figure: Figure) -> str:
    """'2 GPU boards, measured, without CPU packages, DRAMs, fans …'."""
    basis = "measured" if not figure.estimated else "ESTIMATED" if not figure.measured else "part ESTIMATED"
    without = f", without {figure.uncovered}" if figure.uncovered else ""
    return f"{figure.covers}, {basis}{without}"
