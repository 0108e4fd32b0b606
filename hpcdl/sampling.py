"""The sampler of this node, started because a person asked, and its lines as they come."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Self

from pydantic import ValidationError

from hpcdl.errors import Failure, HpcdlError, Mistake
from hpcdl.metering import LINE, PERIOD_S, Closing, Opening, Sample
from hpcdl.trace import Trace, parse_trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

# A sampler ends within one look and the closing of its sensors; a controller may take seconds for its last answer.
PATIENCE_S = 15.0


class Sampling:
    """A sampler that runs as long as this context does: in a process of its own, which may load NVML.

    Its lines are either followed as they come, or gathered by a thread while something else goes on.
    """

    opening: Opening

    def __init__(self, *, period_s: float = PERIOD_S, sensors: Sequence[str] = ()) -> None:
        # Unbuffered: a look is of use when it is made, and a sampler that is killed has lost none.
        self._argv = [sys.executable, "-u", "-m", "hpcdl.power.sampler", "--stdout"]
        self._argv += [f"--period={period_s!r}", f"--sensors={','.join(sensors)}"]
        self._lines: list[bytes] = []
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Starts it, and waits until it has said what there is: about a second.

        Raises:
            Mistake: The sampler cannot use what it was told.
            Failure: It ended before it said anything.
        """
        # A file, not a pipe: nobody reads it until the end.
        self._complaints: IO[bytes] = tempfile.TemporaryFile()
        # A session of its own: Ctrl-C is for whoever asked, who ends the sampler in good order.
        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            start_new_session=True,
        )
        try:
            self.opening = self._read_opening()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def _output(self) -> IO[bytes]:
        output: IO[bytes] | None = self._process.stdout
        assert output is not None  # noqa: S101 (it was asked for)
        return output

    def _read_opening(self) -> Opening:
        line = self._output.readline()
        self._lines.append(line)
        try:
            return Opening.model_validate_json(line)
        except ValidationError:
            raise self._explain_end() from None

    def follow(self) -> Iterator[Sample]:
        """The looks, each when it was made, until the sampler ends.

        Raises:
            Failure: It ended without saying so.
        """
        for line in self._output:
            record = LINE.validate_json(line)
            if isinstance(record, Sample):
                yield record
            elif isinstance(record, Closing):
                return
        raise self._explain_end()

    def gather(self) -> Sample:
        """The first look, when it was made; from then on all looks are kept for `finish`.

        Raises:
            Failure: The sampler ended before.
        """
        line = self._output.readline()
        self._lines.append(line)
        try:
            first = Sample.model_validate_json(line)
        except ValidationError:
            raise self._explain_end() from None
        self._reader = threading.Thread(target=self._read_on, name="sampler", daemon=True)
        self._reader.start()
        return first

    def _read_on(self) -> None:
        self._lines.extend(self._output)

    def finish(self) -> Trace:
        """Let the sampler make its last look and end; what it saw. Without a closing line it had died."""
        self._end()
        trace = parse_trace(b"".join(self._lines), lambda _number, _why: None)
        assert trace is not None  # noqa: S101 (its opening has been read)
        return trace

    def why_ended(self) -> str:
        """How a sampler left that has left no closing line."""
        return self._explain_end().what.rstrip(".")

    def _explain_end(self) -> HpcdlError:
        self._end()
        code = self._process.returncode
        said = self._complained[-1].removeprefix("hpcdl: ") if self._complained else "without a word"
        kind = Mistake if code == Mistake.exit_code else Failure
        return kind(f"the sampler of power ended with {code}: {said}")

    def _end(self) -> None:
        """End the process and let go of everything; a second time does nothing."""
        if self._complaints.closed:
            return
        if self._reader is None:
            # Nobody reads any more: a sampler that waits for room in the pipe would not hear a signal.
            self._output.close()
        self._stop()
        if self._reader is not None:
            self._reader.join()
            self._output.close()
        self._complaints.seek(0)
        self._complained = self._complaints.read().decode(errors="replace").strip().splitlines()
        self._complaints.close()

    def _stop(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
