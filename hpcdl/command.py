"""A command of a person's own, run in the foreground and left alone: its streams, its signals, its exit code."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# As shells have it: 128 and the number of the signal that ended a command.
BY_SIGNAL = 128


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code as a shell would give it, and when it ran on the monotonic clock, s."""

    code: int
    begin_s: float
    end_s: float


def require(argv: Sequence[str]) -> None:
    """Whether there is such a command, before anything is started for it.

    Raises:
        Mistake: There is none, or it cannot be run.
    """
    if not argv:
        raise Mistake("there is no command to meter.", do="Write it after two dashes: -- COMMAND ARGUMENTS.")
    if shutil.which(argv[0]) is None:
        raise Mistake(
            f"there is no command {argv[0]!r}: it is not on PATH, or may not be executed.",
            do="Write the command as the shell would run it; a shell's own words need sh -c '…'.",
        )


def run(argv: Sequence[str]) -> Ended:
    """Run a command to its end. Signals that come for us meanwhile are for the command.

    Raises:
        Mistake: It could not be started.
    """
    children: list[subprocess.Popen[bytes]] = []
    with _pass_signals_to(children):
        begin_s = time.monotonic()
        try:
            children.append(subprocess.Popen(argv))
        except OSError as problem:
            raise Mistake(f"{argv[0]} could not be started: {problem.strerror}.") from None
        code = children[0].wait()
        end_s = time.monotonic()
    return Ended(code if code >= 0 else BY_SIGNAL - code, begin_s, end_s)


@contextlib.contextmanager
def _pass_signals_to(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    def pass_on(number: int, _frame: FrameType | None) -> None:
        # A terminal has told the command already.
        if number != signal.SIGINT or not _is_in_foreground():
            for child in children:
                child.send_signal(number)

    # What somebody made us deaf to (nohup, a shell's &) stays unheard, by the command too.
    heard = [number for number in PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_in_foreground() -> bool:
    """Whether Ctrl-C on our terminal reaches us, and with us all that we have started."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
