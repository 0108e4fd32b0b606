"""Prices and an accuracy, as they are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcdl.prices import Pricing


def read_pricing(site: str | None) -> Pricing | None:
    """The prices of a site file: of the one that is named, else of the user's own, where that has some.

    Raises:
        Mistake: The file cannot be used, or was named and has no prices.
    """
    from pathlib import Path

    from hpcdl import site as sites
    from hpcdl.errors import Mistake
    from hpcdl.prices import Pricing

    found, path = sites.load(Path(site).expanduser() if site else None)
    if site and not found.cost.given:
        raise Mistake(
            f"{site} has no prices.", do="Add a table [cost] to it: docs/cost.md says what belongs there."
        )
    if path is None or not found.cost.given:
        return None
    return Pricing(found.cost, found.power.pue, path.name, found.name, named=site is not None)


def read_accuracy(text: str | None) -> float | None:
    """'98%' or 0.98 as a fraction.

    Raises:
        Mistake: It is none between 0 and 1.
    """
    from hpcdl.errors import Mistake
    from hpcdl.spec import read_fraction

    if text is None:
        return None
    try:
        accuracy = float(str(read_fraction(text)))
    except ValueError:
        accuracy = float("nan")
    if not 0 < accuracy <= 1:
        raise Mistake(
            f"--accuracy {text}: a part of the whole is needed.", do="Write --accuracy 98%, or 0.98."
        )
    return accuracy
