"""Standard output and standard error that never stop a command.

A reader may leave (``| head``), a log's disk may be full, a service may start us without any output, a terminal may not
know our characters: a calculation goes on all the same, and its results are in files.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from mpiqmd.printable import printable_lines, visible

LAYOUT = "\n\t"
"""The only control characters that are written as they are."""
RESTART_LINE = "\r\x1b[K"
"""Back to the start of a terminal's line, and clear it."""


class PatientStream(io.TextIOBase):
    """A text stream in front of another one: the first failure to write makes it silent, and nothing is ever raised.

    What it writes cannot steer a terminal: control characters are escaped, and so is what the encoding does not have.

    Parameters
    ----------
    stream
        Where to write; None for nowhere.
    on_loss
        Called once with the reason, a few words, when writing fails.
    """

    def __init__(self, stream: TextIO | None, on_loss: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self._stream, self.on_loss = stream, on_loss
        self._is_lost = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream behind."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return whether the stream behind is a terminal."""
        with suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        """Return the descriptor of the stream behind; raises OSError if it has none."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write text, or nothing any more; return its length."""
        self._write(visible(text, LAYOUT))
        return len(text)

    def restart_line(self) -> None:
        """Let what is written next replace the line a terminal is in."""
        self._write(RESTART_LINE)

    def flush(self) -> None:
        """Flush the stream behind."""
        if not self._is_lost and self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as problem:
                self._lose(problem)

    def _write(self, text: str) -> None:
        if self._is_lost:
            return
        try:
            if self._stream is None:
                raise OSError(0, "it is closed")
            self._stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
        except (OSError, ValueError) as problem:
            self._lose(problem)

    def _lose(self, problem: OSError | ValueError) -> None:
        """Be silent from now on; what is left in buffers goes nowhere when the interpreter flushes them at its end."""
        self._is_lost = True
        if self._stream in (sys.__stdout__, sys.__stderr__) and self._stream is not None:
            with suppress(OSError, ValueError):
                _to_nowhere(self._stream.fileno())
        if self.on_loss is not None:
            self.on_loss(getattr(problem, "strerror", None) or str(problem))


def has_terminal() -> bool:
    """Return whether this process belongs to somebody's terminal, which a batch job and its like do not."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def patient(stream: TextIO | None) -> PatientStream:
    """Return a stream that never raises, which may be the given one."""
    return stream if isinstance(stream, PatientStream) else PatientStream(stream)


@contextmanager
def patient_streams() -> Iterator[PatientStream]:
    """Put patient streams in the places of ``sys.stdout`` and ``sys.stderr`` for a ``with`` block; yields the first."""
    _open_missing()
    before = sys.stdout, sys.stderr
    output, errors = map(patient, before)
    sys.stdout, sys.stderr = output, errors
    try:
        yield output
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = before


def complain(message: object, kind: str = "error") -> None:
    """Print an error, or another ``kind`` of message, on standard error."""
    print(f"mpiqmd: {kind}: {printable_lines(message)}", file=patient(sys.stderr), flush=True)


def _open_missing() -> None:
    """Give the standard descriptors that the process was started without to nobody: the next file would get their numbers,
    and with them whatever a library prints."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            _to_nowhere(descriptor)


def _to_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
