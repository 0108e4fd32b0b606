"""The node's power as its management controller (BMC) gives it: `ipmitool dcmi power reading`.

A process for each look would be slow and heavy, so a thread asks about once a second, and a look gives the latest
answer with its time. DCMI (Intel, version 1.5, 'Get Power Reading') has a current power, and statistics over a period
that it prints. Of what time the current power is it does not say: a period of seconds is taken as the longest that
it may be an average over; a long one (since the statistics were last reset) tells nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.metering import Source, Unavailable
from hpcdl.power.sensor import Looked, Opened, missing, sensor_root
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "node (DCMI)"
COMMAND = ("dcmi", "power", "reading")
# Where ipmitool looks for the controller.
DEVICES = ("dev/ipmi0", "dev/ipmi/0", "dev/ipmidev/0")
PERIOD_S = 1.0
# Controllers answer within some tenths of a second; one that is busy takes seconds.
TIMEOUT_S = 5.0
# An answer that is older is of another time than the look.
STALE_S = 10.0
LONGEST_AVERAGE_S = 60.0
UNITS_S = {"ms": 1e-3, "mil": 1e-3, "sec": 1.0, "min": 60.0, "hou": 3600.0}
OPEN_DEVICE = "the administrator opens /dev/ipmi0 to the job's user with a udev rule"


class UnansweredError(Exception):
    """Why there is no power, and what helps."""

    def __init__(self, reason: str, do: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.do = do


@dataclass(frozen=True)
class Answer:
    """Current power in watts, and the period of the controller's statistics in seconds."""

    power_w: Reading
    period_s: Reading


def parse_answer(text: str) -> Answer:
    """What ipmitool printed, of any of its versions; what it lacks is missing. Never raises."""
    fields = dict(_split(line) for line in text.splitlines())
    return Answer(_parse_power(fields), _parse_period(fields.get("sampling period", "")))


def _split(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip().lower(), value.strip()


def _parse_power(fields: dict[str, str]) -> Reading:
    if fields.get("power reading state is") == "deactivated":
        return Missing(missing="the controller's power measurement is deactivated")
    match = re.fullmatch(r"(\d+(?:\.\d+)?) Watts?", fields.get("instantaneous power reading", ""), re.ASCII)
    if match is None:
        return Missing(missing="ipmitool printed no power")
    return float(match[1]) or Missing(missing="the controller says 0 W")


def _parse_period(value: str) -> Reading:
    match = re.match(r"(\d+)\s*(ms|mil|sec|min|hou)", value.lower(), re.ASCII)
    period_s = float(match[1]) * UNITS_S[match[2]] if match else 0.0
    return period_s or Missing(missing="DCMI does not tell")


def ask(command: Sequence[str]) -> Answer:
    """One run of ipmitool.

    Raises:
        UnansweredError: It did not come to a power.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnansweredError(
            f"ipmitool gave no answer within {TIMEOUT_S:g} s", "see ipmitool mc info"
        ) from None
    except OSError as problem:
        raise UnansweredError(f"ipmitool does not start: {problem.strerror}") from None
    if done.returncode:
        raise _explain_failure(done.stderr + done.stdout)
    answer = parse_answer(done.stdout)
    if isinstance(answer.power_w, Missing):
        raise UnansweredError(answer.power_w.missing, "see ipmitool dcmi power reading")
    return answer


def _explain_failure(said: str) -> UnansweredError:
    words = " ".join(said.split())
    if "permission denied" in words.lower():
        return UnansweredError("/dev/ipmi0: permission denied", OPEN_DEVICE)
    if "could not open device" in words.lower():
        return UnansweredError("ipmitool finds no controller", "modprobe ipmi_si ipmi_devintf")
    if "dcmi" in words.lower() or "invalid command" in words.lower():
        return UnansweredError(f"the controller does not support DCMI power readings: {words}")
    return UnansweredError(f"ipmitool failed: {words or 'it said nothing'}")


class Controller:
    """The latest answer of the controller, which a thread of its own keeps asking."""

    def __init__(self, command: Sequence[str], first: Answer) -> None:
        self.sources: tuple[Source, ...] = (_describe(first),)
        self._command = command
        self._look: Looked = _say(first)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep_asking, name="ipmitool", daemon=True)
        self._thread.start()

    def _keep_asking(self) -> None:
        while not self._end.wait(PERIOD_S):
            try:
                self._look = _say(ask(self._command))
            except UnansweredError as problem:
                self._look = {"power_w": missing(problem.reason), "read_at_s": time.monotonic()}

    def look(self, *, closely: bool) -> dict[str, Looked]:  # noqa: ARG002 (it has nothing else)
        look = self._look
        if time.monotonic() - look["read_at_s"] > STALE_S:
            look = {"power_w": missing(f"no answer for {STALE_S:g} s"), "read_at_s": look["read_at_s"]}
        return {NAME: look}

    def close(self) -> None:
        """Ends the thread; an ipmitool that runs is waited for, at most TIMEOUT_S."""
        self._end.set()
        self._thread.join()


def _say(answer: Answer) -> Looked:
    return {"power_w": answer.power_w, "read_at_s": time.monotonic()}


def _describe(first: Answer) -> Source:
    period_s = first.period_s
    if isinstance(period_s, Missing) or period_s > LONGEST_AVERAGE_S:
        unknown = Missing(missing="DCMI does not say of what time its current power is")
        return Source(
            name=NAME,
            sensor="ipmi",
            covers="node",
            power="unspecified",
            averaging_s=unknown,
            update_s=PERIOD_S,
        )
    return Source(
        name=NAME, sensor="ipmi", covers="node", power="average", averaging_s=period_s, update_s=PERIOD_S
    )


def open_ipmi(root: Path | None = None) -> Opened:
    """The node's power, if ipmitool gets it from the controller now."""
    try:
        command = _find_command(sensor_root() if root is None else root)
        return Opened(Controller(command, ask(command)))
    except UnansweredError as problem:
        return Opened(None, (Unavailable(sensor="ipmi", reason=problem.reason, do=problem.do),))


def _find_command(root: Path) -> tuple[str, ...]:
    program = shutil.which("ipmitool")
    if program is None:
        raise UnansweredError("ipmitool is not installed", "install ipmitool")
    devices = [root / name for name in DEVICES if (root / name).exists()]
    if not devices:
        raise UnansweredError(
            "no /dev/ipmi0", "virtual machines have none; on metal: modprobe ipmi_si ipmi_devintf"
        )
    if not any(os.access(device, os.R_OK | os.W_OK) for device in devices):
        raise UnansweredError("/dev/ipmi0: permission denied", OPEN_DEVICE)
    return (program, *COMMAND)
