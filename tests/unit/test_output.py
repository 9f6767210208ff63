"""What is printed: never an exception, whatever becomes of the stream; never a control character, whatever the text."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from mpi4py import MPI

from mpiqmd.parallel.log import Log
from mpiqmd.printable import MOST_LINES, printable, printable_lines
from mpiqmd.streams import PatientStream, complain, patient, patient_streams

pytestmark = pytest.mark.serial

C0_C1_DEL = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
BIDI = "".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]))
OTHERS = "\u2028\u2029\u200b\ufeff\udcff\U000e0041\ue000"


@pytest.mark.parametrize("hidden", [*C0_C1_DEL, *BIDI, *OTHERS], ids=lambda c: f"{ord(c):x}")
def test_what_cannot_be_seen_is_escaped(hidden):
    line = printable(f"a{hidden}b")
    assert line.isprintable() and hidden not in line
    assert line.encode("ascii").decode("unicode_escape").encode("utf-8", "surrogatepass") == f"a{hidden}b".encode(
        "utf-8", "surrogatepass"
    )


def test_what_can_be_seen_is_left_alone():
    text = "O\u2013H1 \u00c5 \u03b8 = 104\u00b0, \u6c34 \\x1b"
    assert printable(text) == text


@pytest.mark.parametrize("text", ["x" * 10**6, "\x1b" * 10**6, "a\u0301" * 10**6])
def test_a_line_has_a_length(text):
    assert len(printable(text)) == 2000 and printable(text).endswith(" ...")
    assert printable(text[:3], 2000).startswith(text[0] if text[0] != "\x1b" else "\\x1b")


def test_no_line_of_a_message_passes_for_one_of_its_own():
    """Our own messages list problems in indented lines, which stay as they are."""
    ours = "2 problems in the input:\n  grid.cell: one\n  grid.points: two"
    assert printable_lines(ours) == ours
    assert printable_lines("a\nmpiqmd: error: forged") == "a\n  mpiqmd: error: forged"
    many = printable_lines("\n".join("abc" for _ in range(10_000)))
    assert len(many.splitlines()) == MOST_LINES + 1 and many.endswith("and 9800 more lines")


class Breaking(io.StringIO):
    """A stream that takes so many writes and then none."""

    def __init__(self, good: int, problem: Exception) -> None:
        super().__init__()
        self.good, self.problem, self.tried = good, problem, 0

    def write(self, text: str) -> int:
        self.tried += 1
        if self.tried > self.good:
            raise self.problem
        return super().write(text)


@pytest.mark.parametrize("problem", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space"), ValueError("closed file")])
def test_a_log_whose_stream_breaks_is_silent_from_then_on(problem):
    stream, reasons = Breaking(2, problem), []
    log = Log(MPI.COMM_SELF, PatientStream(stream, reasons.append))
    for number in range(5):
        log(f"line {number}")
        log.progress(f"progress {number}", last=True)
    assert stream.getvalue() == "line 0\n" and stream.tried == 3
    assert len(reasons) == 1


def test_a_log_without_a_stream_is_silent(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    log = Log(MPI.COMM_SELF)
    log("anybody?")
    assert not log.is_terminal and log.active


def test_a_line_of_the_log_is_one_line():
    stream = io.StringIO()
    Log(MPI.COMM_SELF, stream)("a\nb\x1b[2J\u202e")
    assert stream.getvalue() == "a\\nb\\x1b[2J\\u202e\n"


def test_what_is_said_afterwards_waits_and_is_said_once():
    stream = io.StringIO()
    log = Log(MPI.COMM_SELF, stream)
    log.afterwards("energy")
    log.named("replica 1", False).afterwards("again")
    log("working")
    assert stream.getvalue() == "working\n"
    log.release()
    log.release()
    assert stream.getvalue() == "working\nenergy\nreplica 1: again\n"


@pytest.mark.parametrize(("encoding", "written"), [("ascii", b"O\\u2013H \\u6c34\n"), ("latin-1", b"\xc5 \\u2013\n")])
def test_an_encoding_that_lacks_a_character(encoding, written):
    raw = io.BytesIO()
    stream = patient(io.TextIOWrapper(raw, encoding=encoding))
    print("O\u2013H \u6c34" if encoding == "ascii" else "\u00c5 \u2013", file=stream, flush=True)
    assert raw.getvalue() == written


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_the_log_steers_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("mpiqmd.parallel.log.has_terminal", lambda: True)
    stream = Terminal()
    log = Log(MPI.COMM_SELF, stream)
    log.progress("step \x1b[31m1")
    log("done")
    assert stream.getvalue() == "\r\x1b[Kstep \\x1b[31m1\r\x1b[Kdone\n"


def test_a_terminal_that_mpirun_has_made_for_a_batch_job_is_not_steered(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("mpiqmd.parallel.log.has_terminal", lambda: False)
    stream = Terminal()
    Log(MPI.COMM_SELF, stream).progress("step 1")
    assert stream.getvalue() == "step 1\n"


def test_a_process_of_a_session_of_its_own_has_no_terminal():
    asked = "from mpiqmd.streams import has_terminal; print(has_terminal())"
    found = subprocess.run([sys.executable, "-c", asked], start_new_session=True, capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_standard_streams_are_patient_inside_and_come_back(monkeypatch, capsys):
    before = sys.stdout, sys.stderr
    with patient_streams() as output:
        assert sys.stdout is output and patient(output) is output
        print("to you")
        complain("a\x07b\nc")
    assert (sys.stdout, sys.stderr) == before
    captured = capsys.readouterr()
    assert captured.out == "to you\n" and captured.err == "mpiqmd: error: a\\x07b\n  c\n"
