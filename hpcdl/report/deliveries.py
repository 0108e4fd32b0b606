"""In what software the launches ran: the image, the environments and the modules around their ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.records import Missing
from hpcdl.report.content import Column, Quantity, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.analysis.job import RunResult
    from hpcdl.records import Delivery
    from hpcdl.report.content import Cell


def make_software_table(results: Sequence[RunResult]) -> Table | None:
    """One row for each software of each run, as rank 0 found it; None where none was recorded.

    An image, its size and its day tell two containers apart that have the same name.
    """
    found = {
        (result.run_id, launch.environment.delivery): None
        for result in results
        for launch in result.launches
        if launch.environment is not None and launch.environment.delivery is not None
    }
    if not found:
        return None
    runs = len({run for run, _ in found}) > 1
    in_image = any(one.runtime for _, one in found)
    columns = (
        Column("run", "run", left=True, hidden=not runs),
        Column("runtime", "runtime", left=True, hidden=not in_image),
        Column("image", "image", left=True, hidden=not in_image),
        Column("image_bytes", "its size", rank=3, hidden=not in_image),
        Column("image_modified_utc", "of", left=True, rank=2, hidden=not in_image),
        Column("prefix", "Python of", left=True),
        Column("venv", "virtual environment", left=True, hidden=True),
        Column("spack", "Spack environment", left=True, hidden=not any(one.spack for _, one in found)),
        Column("modules", "modules", left=True, hidden=not any(one.modules for _, one in found)),
        Column("python", "Python", left=True, hidden=True),
        Column("hpcdl", "hpcdl in", left=True, rank=1),
    )
    return Table("software", "Software", columns, tuple(_make_row(run, one) for run, one in found))


def _make_row(run: str, found: Delivery) -> tuple[Cell, ...]:
    modified = found.image_modified_utc
    return (
        run,
        found.runtime,
        _tell(found.image),
        None if found.image_bytes is None else Quantity(found.image_bytes, "bytes"),
        _tell(modified if modified is None or isinstance(modified, Missing) else f"{modified:%Y-%m-%d}"),
        found.prefix,
        found.venv,
        found.spack,
        ", ".join(found.modules) or None,
        found.python,
        found.hpcdl,
    )


def _tell(value: str | Missing | None) -> str | None:
    return f"unknown: {value.missing}" if isinstance(value, Missing) else value
