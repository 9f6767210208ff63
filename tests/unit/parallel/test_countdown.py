"""The time left of a stage, and when it is told."""

from __future__ import annotations

import io

import pytest
from mpi4py import MPI

from mpiqmd.parallel.countdown import Countdown, duration
from mpiqmd.parallel.log import Log

pytestmark = pytest.mark.serial


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def told(monkeypatch):
    """Return clock, stream and a log without patience between lines."""
    monkeypatch.setattr("mpiqmd.parallel.log.PATIENCE", 0.0)
    stream = io.StringIO()
    return Clock(), stream, Log(MPI.COMM_SELF, stream)


def test_time_left_is_that_of_the_pieces_left(told):
    clock, stream, log = told
    countdown = Countdown(log, 4, "displaced", clock)
    for text in ("O1 x", "O1 y", "", ""):
        clock.now += 30.0
        countdown.advance(text)
    assert stream.getvalue().splitlines() == [
        "  displaced 1/4: O1 x, 1 min 30 s left",
        "  displaced 2/4: O1 y, 1 min 00 s left",
        "  displaced 3/4, 30.0 s left",
        "  displaced 4/4, took 2 min 00 s",
    ]


def test_what_was_at_hand_does_not_shorten_the_rest(told):
    clock, _, log = told
    countdown = Countdown(log, 20, "displaced", clock)
    for _ in range(9):
        clock.now += 1e-4
        countdown.advance()
    clock.now += 10.0
    countdown.advance()
    assert countdown.seconds_left() == pytest.approx(100.0)


def test_blocks_count_their_pieces(told):
    clock, _, log = told
    countdown = Countdown(log, 100, "table", clock)
    clock.now += 16.0
    countdown.advance(count=8)
    assert countdown.seconds_left() == pytest.approx(92 * 2.0)


def test_a_long_stage_has_few_lines_in_a_file_and_the_last_one(told):
    clock, stream, log = told
    countdown = Countdown(log, 1331, "table", clock)
    for _ in range(1331):
        clock.now += 0.5
        countdown.advance()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11 and lines[0].startswith("  table 1/1331, 11 min") and "took 11 min" in lines[-1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.0, "59.0 s"), (60.0, "1 min 00 s"), (245.2, "4 min 05 s"), (7800.0, "2 h 10 min")],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text
