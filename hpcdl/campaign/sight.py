"""What the records of an acceptance show at this moment, as nodes x checks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hpcdl.acceptance import metrics
from hpcdl.acceptance.fleet import Fleet
from hpcdl.errors import HpcdlError
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.acceptance.suite import Suite
    from hpcdl.checks import Checked
    from hpcdl.jobs import Standing
    from hpcdl.plan import Launch
    from hpcdl.store import LaunchFolder, RunFolder

Look = Literal["waiting", "running", "looked", "could not look", "lost"]


@dataclass(frozen=True)
class Cell:
    """How far one check of one node is; a number where it has a speed, in `unit`."""

    look: Look = "waiting"
    value: float | None = None
    unit: str = ""
    reason: str = ""


# By node and check.
Cells = dict[tuple[str, str], Cell]


@dataclass(frozen=True)
class Sight:
    """All of it. `standings` are the jobs under way: what each is for, and where it stands."""

    columns: tuple[str, ...]
    nodes: tuple[str, ...]
    cells: Cells
    standings: tuple[tuple[str, Standing], ...] = ()

    def cell(self, node: str, column: str) -> Cell:
        return self.cells.get((node, column), Cell())


def list_columns(suite: Suite) -> tuple[str, ...]:
    """The checks of each node, then what is done together."""
    alone = suite.tests.node.checks if suite.tests.node else ()
    together = [
        name for name in ("links", "scaling", "convergence") if getattr(suite.tests, name) is not None
    ]
    return (*alone, *together)


@dataclass
class Eye:
    """Reads the records again only where they have grown: a live board looks twice a second."""

    columns: tuple[str, ...]
    spent_s: float = 0.0
    _seen: dict[str, tuple[int, Cells]] = field(default_factory=dict)

    def look(self, runs: Sequence[RunFolder], nodes: tuple[str, ...], over: frozenset[str]) -> Cells:
        """The newest word on each node and check; what a run that is over leaves unsaid is lost."""
        began_s = time.monotonic()
        cells: Cells = {}
        for run in runs:
            for folder in run.launches():
                cells |= self._look_again(folder, nodes, over=run.run_id in over)
        self.spent_s = time.monotonic() - began_s
        return cells

    def _look_again(self, folder: LaunchFolder, nodes: tuple[str, ...], *, over: bool) -> Cells:
        size = sum(path.stat().st_size for path in folder.path.iterdir()) * 2 + over + len(nodes)
        key = str(folder.path)
        # By size: what is only appended to has changed when it has grown.
        if key not in self._seen or self._seen[key][0] != size:
            try:
                self._seen[key] = (size, _read_launch(folder, folder.plan(), nodes, over=over))
            except HpcdlError:
                return {}
        return self._seen[key][1]


def _read_launch(folder: LaunchFolder, plan: Launch, nodes: tuple[str, ...], *, over: bool) -> Cells:
    if not folder.began():
        return {}
    if plan.kind == "check":
        return _read_checks(folder, plan, nodes, over=over)
    done = folder.probe() is not None or folder.summary() is not None
    bad = next((one for one in folder.exits() if one.outcome not in {"completed", "ended"}), None)
    cell = (
        Cell("looked")
        if done
        else Cell("lost", reason=bad.reason)
        if bad
        else Cell("lost" if over else "running")
    )
    column = plan.test.partition("-")[0]
    names = {
        path.name.removeprefix("exit-").removesuffix(".jsonl") for path in folder.path.glob("exit-*.jsonl")
    }
    fleet = Fleet(nodes, {})
    hosts = set(fleet.find_all(names))
    return {(node, column): cell for node in nodes if not hosts or node in hosts}


def _read_checks(folder: LaunchFolder, plan: Launch, nodes: tuple[str, ...], *, over: bool) -> Cells:
    cells: Cells = {}
    fleet = Fleet(nodes, {})
    looks: dict[str, list[Checked]] = {}
    for checked in folder.checks():
        if (node := fleet.find(checked.host)) is not None:
            looks.setdefault(node, []).append(checked)
    # Of several ranks of a node, one that went wrong tells.
    exits = sorted(folder.exits(), key=lambda one: one.outcome != "completed")
    ended = {node: one.outcome for one in exits if (node := fleet.find(one.host)) is not None}
    asked = plan.check.checks if plan.check else ()
    for host in looks.keys() | ended.keys():
        told = {name: [one for one in looks.get(host, []) if one.check == name] for name in asked}
        for name, lines in told.items():
            if lines:
                cells[host, name] = _sum_up(lines)
        left = [name for name in asked if not told[name]]
        if over or (host in ended and ended[host] != "completed"):
            cells |= {(host, name): Cell("lost") for name in left}
        elif left and host not in ended:
            cells[host, left[0]] = Cell("running")
    return cells


def _sum_up(lines: list[Checked]) -> Cell:
    unseen = next((one for one in lines if one.outcome == "could not look"), None)
    if unseen is not None:
        return Cell("could not look", reason=unseen.reason)
    rates = [rate for one in lines if (rate := _find_rate(one)) is not None]
    if not rates:
        return Cell("looked")
    return Cell("looked", sum(value for value, _ in rates) / len(rates), rates[0][1])


def _find_rate(checked: Checked) -> tuple[float, str] | None:
    """The first number of a look that is a speed, with its unit."""
    for name, value in checked.numbers.items():
        parts = [checked.check, *([checked.subject] if checked.subject else []), name]
        metric = metrics.METRICS.get(".".join(parts)) or metrics.METRICS.get(
            f"{checked.check}.{{model}}.{name}"
        )
        if metric is not None and metric.timed and not isinstance(value, Missing):
            return float(value), metric.dimension
    return None
