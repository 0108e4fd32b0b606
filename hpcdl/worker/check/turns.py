"""One check's turn: a look, and what is said of it, or why there was none."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hpcdl.checks import Checked
from hpcdl.errors import HpcdlError
from hpcdl.worker.check.post import Post, Seen
from hpcdl.worker.reporter import Looked

if TYPE_CHECKING:
    from hpcdl.checks import CheckName
    from hpcdl.plan import Training

# What is timed gives one look after the other, without end; all else gives what there is.
Looks = Callable[[Post, "Training | None"], Iterator[Seen]]


class _NoDevice(HpcdlError):
    """The device that was planned is not there."""


class Turn:
    """A check of one network, or of none, that comes to its turn once or several times.

    Between its turns it keeps what it has built: a model, a pipeline.
    """

    def __init__(
        self, name: CheckName, looks: Looks, training: Training | None, *, timed: bool, node_wide: bool
    ) -> None:
        self.name = name
        self.training = training
        self.timed = timed
        self.node_wide = node_wide
        self._make = looks
        self._looks: Iterator[Seen] | None = None
        self._failed = False

    def look(self, post: Post) -> Iterator[Seen]:
        """What this turn gives; after a failure, nothing more."""
        if self._failed:
            return
        try:
            if post.refusal and not self.node_wide:
                raise _NoDevice(post.refusal)
            if self._looks is None:
                self._looks = self._make(post, self.training)
            for seen in self._looks:
                yield seen
                if self.timed:
                    return
        except Exception:
            self._failed = True
            raise

    def close(self) -> None:
        """Let go of what was built."""
        closing = getattr(self._looks, "close", None)
        if closing is not None:
            closing()


def take(post: Post, turn: Turn, repeat: int) -> None:
    """Look, and say what was seen; whatever happens, the next turn comes."""
    post.pulse.enter(turn.name)
    begin_s = time.monotonic()
    try:
        for seen in turn.look(post):
            post.reporter.say(Looked(checked=_record(post, turn, repeat, seen, begin_s)))
            begin_s = time.monotonic()
    except Exception as problem:  # noqa: BLE001 (a tool that is missing or broken is told, and ends nothing)
        post.reporter.say(Looked(checked=_record_failure(post, turn, repeat, problem, begin_s)))


def _record(post: Post, turn: Turn, repeat: int, seen: Seen, begin_s: float) -> Checked:
    network = turn.training.model if turn.training else ""
    own = not turn.node_wide and seen.device is None
    return Checked(
        check=turn.name,
        rank=post.place.rank,
        local_rank=post.place.local_rank,
        host=post.place.host,
        device=post.device_id if own else seen.device or "",
        model=post.device_model if own else seen.model,
        subject=network if seen.subject is None else seen.subject,
        repeat=repeat,
        outcome="looked",
        numbers=dict(seen.numbers),
        words=dict(seen.words),
        conditions=seen.conditions,
        begin_s=begin_s if seen.begin_s is None else seen.begin_s,
        end_s=time.monotonic() if seen.end_s is None else seen.end_s,
    )


def _record_failure(post: Post, turn: Turn, repeat: int, problem: Exception, begin_s: float) -> Checked:
    if isinstance(problem, HpcdlError):
        reason = str(problem)
    else:
        traceback.print_exception(problem)
        reason = f"{type(problem).__name__}: {problem}"
    own = not turn.node_wide and not post.refusal
    return Checked(
        check=turn.name,
        rank=post.place.rank,
        local_rank=post.place.local_rank,
        host=post.place.host,
        device=post.device_id if own else "",
        model=post.device_model if own else "",
        subject=turn.training.model if turn.training else "",
        repeat=repeat,
        outcome="could not look",
        reason=reason.encode(errors="backslashreplace").decode(),
        begin_s=begin_s,
        end_s=time.monotonic(),
    )
