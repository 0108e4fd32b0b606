"""The parent of one rank: `python -m hpcdl.worker.supervisor LAUNCH_DIR`, started by srun, mpirun or `hpcdl run`.

A rank that is killed or hangs in C writes nothing itself. Its supervisor does nothing but watch: it writes
the rank's records, ends it when it makes no progress, and says how it ended.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hpcdl.durable import Appender, publish
from hpcdl.errors import Failure, HpcdlError
from hpcdl.records import Exit, Outcome
from hpcdl.store import LaunchFolder, RunFolder
from hpcdl.worker import rank as rank_process
from hpcdl.worker.beacon import Beacon
from hpcdl.worker.place import read_place
from hpcdl.worker.reporter import (
    Ended,
    Looked,
    Measured,
    Prepared,
    Probed,
    Stepped,
    Verified,
    Wired,
    parse_message,
)
from hpcdl.worker.rescue import rescue

if TYPE_CHECKING:
    from types import FrameType

    from hpcdl.plan import Launch
    from hpcdl.worker.place import Place

FLUSH_S = 2.0
LOOK_S = 0.2
# After SIGABRT the stacks are written; after SIGKILL there is nothing to wait for but the kernel.
GRACE_S = 2.0
# From the signal until the rank is killed, so that the other ranks have heard theirs by then.
TOGETHER_S = 0.5
EXIT_HUNG = 124
# Importing torch over a busy file system, and finding each other, may take longer than any step does.
START_PHASES = frozenset({"start", "rendezvous", "preflight"})
START_PATIENCE_S = 300.0


class Supervisor:
    """Starts one rank, listens to it, and closes its records."""

    def __init__(self, launch: Launch, place: Place, folder: LaunchFolder) -> None:
        self._launch = launch
        self._place = place
        self._folder = folder
        self._steps = Appender(folder.steps_path(place.host))
        self._checks = Appender(folder.checks_path(place.host))
        self._beacon = Beacon.create()
        self._stacks = os.memfd_create("hpcdl-stacks", 0)
        self._unwritten: dict[Path, str] = {}
        self._pipe = -1
        self._torn = b""
        self._ended: Ended | None = None
        self._told: int | None = None
        self._hung = False
        self._stopped = False
        self._process_state: str | None = None
        self._began_s = time.monotonic()

    def run(self) -> int:
        """From start to exit record; the exit code tells the launcher whether to end the other ranks."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            signal.signal(number, self._on_signal)
        if self._launch.launcher != "srun":
            # Slurm clears up behind itself. Here, nobody else would end us after a SIGKILL of `hpcdl run`.
            rank_process.ask_for_signal_when_parent_dies(signal.SIGTERM)
        try:
            child = self._start()
        except OSError as problem:
            self._ended = Ended(outcome="failed", reason=f"the rank could not be started: {problem}")
            return self._close(1)
        try:
            self._watch(child)
        finally:
            self._end(child)
        return self._close(child.returncode)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # What began the end is its reason; a launcher that loses patience says more.
        self._told = self._told or number

    def _start(self) -> subprocess.Popen[bytes]:
        self._pipe, writer = os.pipe()
        os.set_blocking(self._pipe, False)
        handed = {
            rank_process.PIPE: writer,
            rank_process.BEACON: self._beacon.descriptor,
            rank_process.STACKS: self._stacks,
        }
        # A stack dump ends in SIGABRT: no core files of many gigabytes beside the records.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        child = subprocess.Popen(
            [sys.executable, "-m", "hpcdl.worker.rank", str(self._folder.path)],
            env=os.environ | {name: str(number) for name, number in handed.items()},
            pass_fds=tuple(handed.values()),
            process_group=0,
        )
        os.close(writer)
        return child

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        """Until the rank has closed its end, or must be ended."""
        seen, seen_s = self._beacon.read(), time.monotonic()
        flushed_s = seen_s
        while self._told is None:
            readable, _, _ = select.select([self._pipe], [], [], LOOK_S)
            if readable and not self._listen():
                return
            now_s, here = time.monotonic(), self._beacon.read()
            if here != seen:
                seen, seen_s = here, now_s
            if now_s - seen_s > self._patience_s():
                self._hung = True
                self._process_state = read_process_state(child.pid)
                return
            if now_s - flushed_s > FLUSH_S:
                self._flush()
                flushed_s = now_s
            if child.poll() is not None and not readable:
                return

    def _patience_s(self) -> float:
        """Seconds that the rank may stay where it is."""
        patience_s = self._launch.progress_timeout_s
        return max(patience_s, START_PATIENCE_S) if self._beacon.read()[1] in START_PHASES else patience_s

    def _listen(self) -> bool:
        """Take in what the rank has said; False when it has closed its end."""
        try:
            data = os.read(self._pipe, 1 << 20)
        except BlockingIOError:
            return True
        *lines, self._torn = (self._torn + data).split(b"\n")
        for line in lines:
            self._take(line)
        return bool(data)

    def _take(self, line: bytes) -> None:
        try:
            message = parse_message(line)
        except ValidationError:
            return  # torn by a kill; the beacon knows how far the rank was
        match message:
            case Stepped(step=step):
                self._steps.add(step)
            case Prepared(environment=environment):
                self._keep(self._folder.environment_path, environment.model_dump_json(indent=1))
            case Verified(digest=digest):
                self._keep(RunFolder(self._folder.path.parent).verified_path, digest)
            case Measured(summary=summary):
                self._keep(self._folder.summary_path, summary.model_dump_json(indent=1))
            case Wired(topology=topology):
                self._keep(self._folder.topology_path(topology.host), topology.model_dump_json(indent=1))
            case Probed(probe=probe):
                self._keep(self._folder.probe_path, probe.model_dump_json(indent=1))
            case Looked(checked=checked):
                # At once: a node that dies in its next look has told of this one.
                self._checks.add(checked)
                self._flush()
            case Ended():
                self._ended = message

    def _keep(self, path: Path, text: str) -> None:
        self._unwritten[path] = text + "\n"
        self._flush()

    def _flush(self) -> None:
        # A full disk may have room again later: what is pending stays pending.
        with contextlib.suppress(OSError, Failure):
            self._write_out()

    def _write_out(self) -> None:
        """Steps first: a summary without the steps that it sums up would be believed."""
        self._steps.flush()
        self._checks.flush()
        while self._unwritten:
            path, text = next(iter(self._unwritten.items()))
            publish(path, text)
            del self._unwritten[path]

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        """Let the rank leave, or make it; then read what is left in the pipe."""
        if self._hung:
            self._signal(child, signal.SIGABRT)
        elif self._told is not None:
            self._end_with_the_others()
            # All that it had to say is in the pipe.
            self._signal(child, signal.SIGKILL)
        try:
            child.wait(timeout=GRACE_S if self._hung or self._told else self._launch.progress_timeout_s)
        except subprocess.TimeoutExpired:
            self._hung = self._told is None
        # Data-loader processes and threads in C go with their rank, whatever they are doing.
        self._signal(child, signal.SIGKILL)
        child.wait()
        with contextlib.suppress(OSError):
            while self._listen() and select.select([self._pipe], [], [], 0)[0]:
                pass

    def _end_with_the_others(self) -> None:
        """All ranks are told to end, some of them a moment later; without its peers such a one would fail before.

        So nobody is killed at once, and a failure that comes in this moment is none.
        """
        while self._listen() and select.select([self._pipe], [], [], 0)[0]:
            pass
        self._stopped = self._ended is None
        if self._place.world_size > 1:
            time.sleep(TOGETHER_S)

    @staticmethod
    def _signal(child: subprocess.Popen[bytes], number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)

    def _close(self, returncode: int) -> int:
        """The exit record; on a disk that takes nothing, all that is left to write goes elsewhere."""
        outcome, code, reason = self._judge(returncode)
        step, phase = self._beacon.read()
        record = Exit(
            rank=self._place.rank,
            host=self._place.host,
            local_rank=self._place.local_rank,
            outcome=outcome,
            exit_code=code,
            signal=-returncode if outcome == "killed" else None,
            last_step=step,
            phase=phase,
            reason=reason,
            process_state=self._process_state,
            elapsed_s=time.monotonic() - self._began_s,
            restart=self._place.restart,
        )
        exits = Appender(self._folder.exit_path(self._place.host))
        exits.add(record)
        if stacks := os.pread(self._stacks, 1 << 20, 0):
            self._unwritten[self._folder.stacks_path(self._place.rank)] = stacks.decode(errors="replace")
        try:
            self._write_out()
            exits.flush()
        except (OSError, Failure) as problem:
            rescue(self._list_unwritten(exits), problem)
            return code or 1
        if outcome not in {"completed", "stopped"}:
            print(f"hpcdl: rank {record.rank} ({record.host}) {outcome}: {reason}", file=sys.stderr)
        return code

    def _list_unwritten(self, exits: Appender) -> dict[Path, bytes]:
        streams = (self._steps, self._checks, exits)
        lines = {stream.path: stream.pending for stream in streams if stream.pending}
        return lines | {path: text.encode(errors="replace") for path, text in self._unwritten.items()}

    def _judge(self, returncode: int) -> tuple[Outcome, int, str]:
        """Outcome, exit code, reason: from what the rank said, else from what it was seen to do."""
        if self._hung:
            state = {"T": "; the process is stopped", "D": "; the process waits for a disk"}
            words = f"no progress for {self._patience_s():.0f} s in {self._beacon.read()[1]}"
            return "hung", EXIT_HUNG, words + state.get(self._process_state or "", "")
        if (
            self._stopped
            and self._told is not None
            and (self._ended is None or self._ended.outcome == "failed")
        ):
            return "stopped", 128 + self._told, f"ended by {signal.Signals(self._told).name}"
        if self._ended is not None and (self._ended.outcome != "completed" or returncode == 0):
            return self._ended.outcome, abs(returncode), self._ended.reason
        if self._told is not None:
            return "stopped", 128 + self._told, f"ended by {signal.Signals(self._told).name}"
        if returncode < 0:
            return "killed", 128 - returncode, f"killed by signal {-returncode} ({_name(-returncode)})"
        return "failed", returncode or 1, f"left with exit code {returncode} and without a word{self._hint()}"

    def _hint(self) -> str:
        """MPI ends a process by itself; what it says stands in the log only."""
        meeting = self._beacon.read()[1] == "rendezvous"
        return ", while the ranks were to meet; MPI's own words are in `hpcdl logs`" if meeting else ""


def read_process_state(pid: int) -> str | None:
    """The kernel's letter for a process (man 5 proc, /proc/pid/stat); None where it cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name before it, in brackets, may hold anything.
    return stat.rpartition(")")[2].split()[0]


def _name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return "unknown"


def main() -> None:
    """Supervise the rank of the launch whose folder is named."""
    try:
        folder = LaunchFolder(Path(sys.argv[1]))
        launch = folder.plan()
        code = Supervisor(launch, read_place(launch), folder).run()
    except HpcdlError as problem:
        print(f"hpcdl: {problem}", file=sys.stderr)
        code = problem.exit_code
    sys.exit(code)


if __name__ == "__main__":
    main()
