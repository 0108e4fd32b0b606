"""What a rank does in the place of training: the act that $HPCDL_ACT names, or $HPCDL_ACT_<rank> for one rank."""

from __future__ import annotations

import ctypes
import faulthandler
import itertools
import os
import signal
import time

from hpcdl.errors import Refused
from hpcdl.worker.delivery import read_delivery
from hpcdl.worker.reporter import Measured, Prepared, Stepped
from tests.unit.records_maker import Recording, make_environment, make_step, make_summary

TICK_S = 0.02


def train(launch, place, folder, reporter, beacon):
    name = os.environ.get(f"HPCDL_ACT_{place.rank}", os.environ["HPCDL_ACT"])
    if place.rank == 0:
        environment = make_environment(launch, Recording(one_machine=True))
        reporter.say(Prepared(environment=environment.model_copy(update={"delivery": read_delivery()})))
    ACTS[name](Actor(launch, place.rank, reporter, beacon))


class Actor:
    """A rank that makes steps."""

    def __init__(self, launch, rank, reporter, beacon):
        self.launch, self.rank, self.reporter, self.beacon = launch, rank, reporter, beacon

    def step(self, number):
        self.beacon.show(number, "compute")
        warmup = number < self.launch.train.warmup
        self.reporter.say(Stepped(step=make_step(self.rank, number, warmup=warmup)))

    def steps(self, count):
        for number in range(count):
            self.step(number)


def complete(actor):
    train = actor.launch.train
    actor.steps(train.warmup + train.steps)
    actor.beacon.show(train.warmup + train.steps, "end")
    if actor.rank == 0:
        actor.reporter.say(Measured(summary=make_summary(actor.launch, Recording())))


def train_for_ever(actor):
    for number in itertools.count():
        actor.step(number)
        time.sleep(TICK_S)


def wait_in_warmup(actor):
    """Alive, in the first step, for ever."""
    for _ in itertools.count():
        actor.beacon.show(0, "input")
        time.sleep(TICK_S)
        actor.beacon.show(0, "compute")


def tell(actor):
    """What of its environment the site file has set."""
    print(f"NCCL_DEBUG={os.environ['NCCL_DEBUG']}; NOTE={os.environ.get('NOTE')}", flush=True)
    complete(actor)


def hang_in_c(actor):
    actor.steps(3)
    actor.beacon.show(3, "exchange")
    ctypes.PyDLL(None).sleep(3600)  # unlike CDLL, it keeps the interpreter's lock


def hang_deaf(actor):
    """Neither SIGTERM nor SIGABRT ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.disable()
    signal.signal(signal.SIGABRT, signal.SIG_IGN)
    actor.steps(3)
    time.sleep(3600)


def be_deaf(actor):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    train_for_ever(actor)


def fail(actor):
    actor.steps(2)
    raise ValueError("the act went wrong")


def refuse(actor):
    raise Refused("this stage is not fit.", do="Find another.")


def leave(actor):
    actor.steps(2)
    os._exit(7)


def leave_well(actor):
    """Exit code 0, and not a word of success."""
    actor.steps(2)
    os._exit(0)


def crash(actor):
    actor.steps(2)
    faulthandler._sigsegv()


def flood(actor):
    """More than the pipe holds, and then killed."""
    actor.steps(3000)
    os.kill(os.getpid(), signal.SIGKILL)


def leave_a_child(actor):
    """It holds the pipe open, and does not mind SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = os.fork()
    if not child:
        time.sleep(3600)
    print(f"child {child}", flush=True)
    complete(actor)


ACTS = {
    "be deaf": be_deaf,
    "complete": complete,
    "crash": crash,
    "fail": fail,
    "flood": flood,
    "hang deaf": hang_deaf,
    "hang in C": hang_in_c,
    "leave": leave,
    "leave a child": leave_a_child,
    "leave well": leave_well,
    "refuse": refuse,
    "tell": tell,
    "train for ever": train_for_ever,
    "wait in warm-up": wait_in_warmup,
}
