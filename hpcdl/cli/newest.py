"""Which runs stand for a network, where a person names none: by the index which, by their records what they say."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.analysis.catalogue import Catalogue
    from hpcdl.analysis.job import RunResult
    from hpcdl.stores import Stores

# How many runs are looked into for further sizes, the newest first.
LOOK_BACK = 20
# What two launches of one question have alike, as far as the index knows.
ALIKE = ("model", "data", "dtype", "mode", "device", "layout")


def find_newest(stores: Stores, model: str | None) -> list[RunResult]:
    """The newest run with a throughput; if that has one size only, older ones of the same question beside it.

    Args:
        stores: Where runs are kept.
        model: The network; None: whichever was trained last.

    Raises:
        Mistake: No run has a throughput.
    """
    from hpcdl.analysis.catalogue import find_runs, read_stores
    from hpcdl.cli.look import analyse
    from hpcdl.store import RunFolder

    catalogue = read_stores(stores)
    trained = _find_trainings(catalogue, model)
    rates = catalogue.column("images_per_s")
    measured = [place for place in trained if rates[place] is not None]
    if not measured:
        raise _tell_lack(catalogue, trained, model, stores)
    root, name = find_runs(catalogue, measured)[-1]
    newest = analyse(RunFolder(root / name))
    if len({launch.world_size for launch in newest.trainings}) > 1:
        return [newest]
    alike = _find_alike(catalogue, measured, name)
    folders = [RunFolder(root / other) for root, other in reversed(find_runs(catalogue, alike))]
    return [newest, *_find_siblings(newest, map(analyse, islice(folders, LOOK_BACK)))]


def _find_trainings(catalogue: Catalogue, model: str | None) -> list[int]:
    """The places of the launches that train a network, by whichever of its names."""
    from hpcdl.analysis.sweep import name_network

    kinds, models, variants = (catalogue.column(name) for name in ("kind", "model", "variant"))
    wanted = None if model is None else name_network(model)
    fitting = {name for name in set(models) - {None} if wanted is None or name_network(name) == wanted}
    return [
        place
        for place, (kind, name, variant) in enumerate(zip(kinds, models, variants, strict=True))
        # What leaves the exchange or the input out is no training of it.
        if kind == "train" and name in fitting and variant in {None, "full"}
    ]


def _tell_lack(catalogue: Catalogue, trained: list[int], model: str | None, stores: Stores) -> Mistake:
    """That there is no throughput, and why the newest run has none."""
    rows = catalogue.rows(trained, ("run_id", "why_missing"))
    newest = max(rows, key=lambda row: str(row["run_id"]), default=None)
    why = "" if newest is None else f" (run {newest['run_id']}: {newest['why_missing']})"
    return Mistake(
        f"no run of {model or 'any network'} in {stores} has a throughput{why}.",
        do=f"Measure one: hpcdl submit scaling{f' --model {model}' if model else ''} --nodes 1,2,4.",
    )


def _find_alike(catalogue: Catalogue, measured: list[int], name: str) -> list[int]:
    """Launches of other runs that may ask what a run asks, at other sizes."""
    rows = catalogue.rows(measured, ("run_id", "ranks", *ALIKE))
    asked = {tuple(row[column] for column in ALIKE) for row in rows if row["run_id"] == name}
    sizes = {row["ranks"] for row in rows if row["run_id"] == name}
    return [
        place
        for place, row in zip(measured, rows, strict=True)
        if row["ranks"] not in sizes and tuple(row[column] for column in ALIKE) in asked
    ]


def _find_siblings(result: RunResult, others: Iterator[RunResult]) -> list[RunResult]:
    """Older runs that ask the same question at sizes that are still lacking."""
    found: list[RunResult] = []
    sizes = {launch.world_size for launch in result.trainings}
    for other in others:
        new = {launch.world_size for launch in other.trainings} - sizes
        if new and _share_question(result, other):
            found.append(other)
            sizes |= new
    return found


def _share_question(one: RunResult, other: RunResult) -> bool:
    from hpcdl.analysis.scaling import gather_questions

    mine, theirs = ({id(launch) for launch in run.trainings} for run in (one, other))
    groups = ({id(launch) for launch in group} for group in gather_questions([one, other]).values())
    return any(group & mine and group & theirs for group in groups)
