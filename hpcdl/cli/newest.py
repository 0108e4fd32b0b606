"""Which runs of the store stand for a network, where a person names none."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.analysis.job import RunResult
    from hpcdl.store import RunFolder, Store

# How many runs of the network are looked into, the newest first.
LOOK_BACK = 20


def find_newest(store: Store, model: str | None) -> list[RunResult]:
    """The newest run with a throughput; if that has one size only, older ones of the same question beside it.

    Args:
        store: Where runs are kept.
        model: The network; None: whichever was trained last.

    Raises:
        Mistake: No run has a throughput.
    """
    from hpcdl.cli.look import analyse

    results = (analyse(folder) for folder in islice(_list_trainings(store, model), LOOK_BACK))
    reasons: list[str] = []
    for result in results:
        reason = _find_lack(result, model)
        if reason is None:
            return [result] if _has_sizes(result) else [result, *_find_siblings(result, results)]
        reasons.append(f"run {result.run_id}: {reason}")
    what = model or "any network"
    why = f" ({reasons[0]})" if reasons else ""
    raise Mistake(
        f"no run of {what} in {store.root} has a throughput{why}.",
        do=f"Measure one: hpcdl submit scaling{f' --model {model}' if model else ''} --nodes 1,2,4.",
    )


def _list_trainings(store: Store, model: str | None) -> Iterator[RunFolder]:
    for folder in reversed(store.runs()):
        try:
            launches = folder.job().launches
        except Mistake:
            continue
        if any(one.kind == "train" and _is_of(one.train.model, model) for one in launches):
            yield folder


def _is_of(recorded: str, model: str | None) -> bool:
    from hpcdl.analysis.sweep import name_network

    return model is None or name_network(recorded) == name_network(model)


def _find_lack(result: RunResult, model: str | None) -> str | None:
    """Why a run has no throughput of a network; None: it has one."""
    from hpcdl.records import Missing

    rates = [one.images_per_s for one in result.trainings if _is_of(one.plan.train.model, model)]
    if any(not isinstance(rate, Missing) for rate in rates):
        return None
    return next((rate.missing for rate in rates if isinstance(rate, Missing)), "it trains nothing")


def _has_sizes(result: RunResult) -> bool:
    return len({launch.world_size for launch in result.trainings}) > 1


def _find_siblings(result: RunResult, others: Iterator[RunResult]) -> list[RunResult]:
    """Older runs that ask the same question at sizes that are still lacking."""
    found: list[RunResult] = []
    sizes = {launch.world_size for launch in result.trainings}
    for other in others:
        new = {launch.world_size for launch in other.trainings} - sizes
        if new and _share_question(result, other) and _find_lack(other, None) is None:
            found.append(other)
            sizes |= new
    return found


def _share_question(one: RunResult, other: RunResult) -> bool:
    from hpcdl.analysis.scaling import gather_questions

    mine, theirs = ({id(launch) for launch in run.trainings} for run in (one, other))
    groups = ({id(launch) for launch in group} for group in gather_questions([one, other]).values())
    return any(group & mine and group & theirs for group in groups)
