"""A sampler that is told to end makes its last look and says so, at whatever moment it is told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

# A sensor that is looked at almost all the time: the signal comes in the middle of a look. Numpy's threads run by then.
LOOKING = """
import numpy, time
from hpcdl.metering import Opening
from hpcdl.power.sampler import Ending, Output, Sampler

class Slow:
    sources = ()
    def look(self, *, closely):
        print("looking", flush=True)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass
        return {}

ending = Ending()
opening = Opening(host="n1", boot_id="b", at_s=0.0, period_s=0.001, sources=(), unavailable=())
Sampler([Slow()], Output(), 0.001).run(opening, ending)
"""


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_a_look_is_heard_after_it(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", LOOKING], stdout=subprocess.PIPE, text=True) as sampler:
        assert sampler.stdout is not None
        assert "looking\n" in sampler.stdout
        sampler.send_signal(number)
        said, _ = sampler.communicate(timeout=60)
    assert sampler.returncode == 0
    closing = json.loads(said.splitlines()[-1])
    assert (closing["kind"], closing["reason"]) == ("closing", f"told by {number.name}")
