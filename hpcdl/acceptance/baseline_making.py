"""Acceptances that passed -> a baseline."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING

import hpcdl
from hpcdl.acceptance import metrics
from hpcdl.acceptance.baselines import Baseline, Origin, Reference, Removed, Rule
from hpcdl.acceptance.outliers import remove_outliers
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from hpcdl.acceptance.concluding import Conclusion
    from hpcdl.acceptance.evidence import Evidence
    from hpcdl.acceptance.outliers import Kept

# What is counted or is a word is right or wrong, and no level to be held.
WITHOUT_LEVEL = ("count", "text")


def make_baseline(accepted: Sequence[Conclusion], *, threshold_mads: float, now: datetime) -> Baseline:
    """One baseline of several acceptances.

    Args:
        accepted: At least one; each has passed.
        threshold_mads: Beyond so many scaled deviations a unit is left out of its model's reference.
        now: When it is made.

    Raises:
        Mistake: One did not pass, is named twice, or some are rehearsals and some are not.
    """
    _require_passed(accepted)
    values = measure_units([one.evidence for one in accepted])
    kept = {
        (metric, model): remove_outliers(found, threshold_mads)
        for metric, models in values.items()
        for model, found in models.items()
    }
    return Baseline(
        kind="hpcdl.baseline",
        schema_version=1,
        made_utc=now,
        hpcdl=hpcdl.__version__,
        rehearsal=accepted[0].evidence.rehearsal or "",
        outliers=Rule(threshold_mads=threshold_mads),
        sources=tuple(map(_describe, accepted)),
        references=tuple(_refer(metric, model, one) for (metric, model), one in kept.items()),
        removed=tuple(_list_removed(kept)),
        units=values,
    )


def _require_passed(accepted: Sequence[Conclusion]) -> None:
    names = [one.asked.accept_id for one in accepted]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise Mistake(f"acceptance {double} is named twice.", do="Name each once.")
    for one in accepted:
        if one.verdict.outcome != "pass":
            word = {"fail": "failed", "insufficient": "is undecided"}[one.verdict.outcome]
            raise Mistake(
                f"acceptance {one.asked.accept_id} {word}: only what passed becomes a baseline.",
                do=f"See why: hpcdl accept report {one.asked.accept_id}.",
            )
    if len({one.evidence.rehearsal is None for one in accepted}) > 1:
        raise Mistake("some of these acceptances are rehearsals and some are not.", do="Take one kind.")


def measure_units(evidence: Iterable[Evidence]) -> dict[str, dict[str, dict[str, float]]]:
    """What each unit did: metric -> device model -> unit's name -> the median of all its samples, sorted by name."""
    samples: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for one in evidence:
        for seen in one.observations:
            metric = metrics.find(seen.metric)
            if seen.samples and metric.dimension not in WITHOUT_LEVEL and metric.better != "same":
                samples[seen.metric][seen.unit.model][seen.unit.name].extend(seen.samples)
    return {
        metric: {
            model: {name: median(values) for name, values in sorted(units.items())}
            for model, units in sorted(models.items())
        }
        for metric, models in sorted(samples.items())
    }


def _refer(metric: str, model: str, kept: Kept) -> Reference:
    return Reference(
        metric=metric,
        model=model,
        unit=metrics.find(metric).dimension,
        value=kept.median,
        relative_spread=kept.spread,
        units=len(kept.values),
        removed=len(kept.removed),
    )


def _list_removed(kept: Mapping[tuple[str, str], Kept]) -> Iterator[Removed]:
    for (metric, model), one in kept.items():
        for gone in one.removed:
            reason = (
                f"{gone.mads:.1f} scaled deviations from the median {gone.median:.6g}, in round {gone.round}"
            )
            yield Removed(
                metric=metric, model=model, name=gone.name, value=gone.value, mads=gone.mads, reason=reason
            )


def _describe(accepted: Conclusion) -> Origin:
    asked, evidence = accepted.asked, accepted.evidence
    words: dict[str, set[str]] = defaultdict(set)
    for trait in evidence.traits:
        words[trait.metric].add(trait.word)
    return Origin(
        accept_id=asked.accept_id,
        created_utc=asked.created_utc,
        suite=asked.suite.name,
        suite_digest=asked.suite_digest,
        hpcdl=asked.hpcdl,
        nodes=len(evidence.nodes),
        hardware=tuple(sorted(words["identity.cpu"] | words["identity.gpu"])),
        versions=tuple(
            sorted(words["identity.versions"] | words["identity.driver"] | words["identity.kernel"])
        ),
    )
