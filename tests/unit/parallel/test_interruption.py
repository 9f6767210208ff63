"""Runs that are told to end: by the clock, by signals, by a file; the resumed run is the uninterrupted one."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from mpiqmd.md.checkpoint import load_checkpoint
from mpiqmd.molecule.surface import Memory
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.parallel.interruption import SIGNALS, Interruption, announce, exit_status
from mpiqmd.parallel.log import Log
from tests.helpers.md_surfaces import ForgetfulSurface, PairSurface, water
from tests.unit.md import test_run


@pytest.mark.parametrize("reason", ["SIGUSR1", "walltime", "STOP"])
def test_a_run_that_is_stopped_has_a_checkpoint_there_and_resumes_bit_for_bit(comm, shared_tmp_path, reason):
    """Rank 0 alone decides; the checkpoint is of the very step, although none was due."""
    whole, parts = test_run.folders(comm, shared_tmp_path, "whole", "parts")
    test_run.run(comm, whole)
    questions = []

    def stop():
        questions.append(1)
        return reason if len(questions) == 9 else None

    first = test_run.run(comm, parts, stop=stop, checkpoint_every=1000)
    assert (first["steps"], first["stopped"], first["frames"]) == (7, reason, 4)
    assert len(questions) == (9 if comm.rank == 0 else 0), "once more after the first checkpoint"
    saved, _ = on_rank_zero(comm, load_checkpoint, parts / "checkpoint.h5")
    assert saved.attributes["step"] == 7
    second = test_run.run(comm, parts)
    assert (second["resumed_from"], second["stopped"], second["steps"]) == (7, None, test_run.STEPS)
    test_run.assert_same(test_run.read(comm, whole), test_run.read(comm, parts))


@pytest.mark.serial
@pytest.mark.parametrize("early", [False, True])
def test_a_signal_ends_what_only_loads_at_once(early):
    """Nothing is to be saved there, and what it waits for may never come; the status asks for another start."""
    kill = "os.kill(os.getpid(), signal.SIGTERM)"
    program = f"""
import os, signal, time
from mpiqmd.parallel.interruption import Interruption
interruption = Interruption()
with interruption.listening():
    {kill if early else "pass"}
    with interruption.loading():
        {kill}
        time.sleep(60)
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50)
    assert process.returncode == 75
    assert process.stderr == "mpiqmd: stopped: SIGTERM before the first step; the same command starts again\n"


@pytest.mark.serial
def test_listening_goes_on_after_loading():
    interruption = Interruption()
    with interruption.listening():
        with interruption.loading():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.reason() == "SIGTERM"


@pytest.mark.serial
def test_a_second_signal_does_not_disturb_the_end():
    """Batch systems send theirs to mpirun, which passes it on, and to every process."""
    program = """if True:
        import os, signal
        from mpiqmd.parallel.interruption import Interruption, exit_status
        interruption = Interruption()
        with interruption.listening():
            os.kill(os.getpid(), signal.SIGTERM)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        raise SystemExit(exit_status(interruption.reason()))
    """
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50)
    assert (process.returncode, process.stdout, process.stderr) == (75, "True\n", "")


def test_a_finished_run_was_not_stopped(comm, shared_tmp_path):
    """A signal that comes with the last step, or after it, changes nothing."""
    result = test_run.run(comm, shared_tmp_path, steps=3)
    again = test_run.run(comm, shared_tmp_path, steps=3, stop=lambda: "SIGTERM")
    assert result["stopped"] is again["stopped"] is None


def test_checkpoints_come_by_minutes_whatever_the_step(comm, shared_tmp_path):
    class Counting(Memory):
        saved = 0

        def state(self):
            type(self).saved += 1
            return {}

    class Slow(PairSurface):
        def fresh(self, company=1):
            return Counting()

        def at(self, positions_av, memory=None):
            time.sleep(0.01)
            return super().at(positions_av, memory)

    quiet = {"steps": 12, "checkpoint_every": 1000}
    test_run.run(comm, shared_tmp_path, Slow(water()), checkpoint_minutes=0.02 / 60, **quiet)
    assert 4 <= Counting.saved <= 8
    Counting.saved = 0
    test_run.run(comm, shared_tmp_path, Slow(water()), checkpoint_minutes=10.0, **quiet | {"steps": 24})
    assert Counting.saved == 1


@pytest.mark.serial
def test_signals_are_noted_while_listening_and_handled_as_before_afterwards():
    heard = []
    previous = {number: signal.signal(number, lambda *args: heard.append(args[0])) for number in SIGNALS}
    try:
        for number, name in ((number, signal.Signals(number).name) for number in SIGNALS):
            interruption = Interruption()
            assert interruption.reason() is None
            with interruption.listening():
                os.kill(os.getpid(), number)
                assert interruption.reason() == name
            assert interruption.reason() == name and not heard
            os.kill(os.getpid(), number)
            assert heard.pop() == number
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@pytest.mark.serial
def test_what_is_ignored_stays_ignored_and_a_second_ctrl_c_is_not_caught():
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        interruption = Interruption()
        with interruption.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert interruption.reason() is None and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with interruption.listening():
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.reason() == "SIGINT" and signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@pytest.mark.serial
def test_threads_may_not_listen_but_may_run():
    interruption, results = Interruption(), []

    def body():
        with interruption.listening():
            results.append(interruption.reason())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert results == [None]


@pytest.mark.serial
def test_the_wall_time_leaves_room_for_one_more_step_and_the_end(monkeypatch):
    """100 s: 5 s of margin for the end, and twice the longest step so far."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    interruption = Interruption(walltime=100.0, started=990.0)

    def after(seconds):
        clock[0] += seconds
        return interruption.reason()

    assert after(30.0) is None, "time before the first question is setting up, not a step"
    assert after(10.0) is None and after(4.0) is None
    assert after(20.0) == "walltime", "74 s are over, and 40 s may be needed"
    quick = Interruption(walltime=100.0, started=clock[0])
    quick.reason()
    assert all((clock.__setitem__(0, clock[0] + 1.0), quick.reason())[1] is None for _ in range(92))
    clock[0] += 1.0
    assert quick.reason() == "walltime"
    day = Interruption(walltime=86400.0, started=clock[0])
    clock[0] += 86400.0 - 61.0
    assert day.reason() is None
    monkeypatch.undo()


@pytest.mark.serial
def test_the_file_stop_ends_one_run(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    interruption = Interruption(tmp_path)
    assert interruption.reason() is None
    (tmp_path / "STOP").touch()
    assert interruption.reason() is None, "the folder is not looked at after every step"
    clock[0] += 0.6
    assert interruption.reason() == "STOP"
    interruption.clear()
    interruption.clear()
    assert not (tmp_path / "STOP").exists()
    monkeypatch.undo()


def test_a_stop_file_that_cannot_be_removed_costs_no_result(tmp_path, capsys):
    (tmp_path / "STOP").mkdir()
    Interruption(tmp_path).clear()
    assert "cannot be removed (Is a directory) and will end the next run too" in capsys.readouterr().err


@pytest.mark.serial
def test_only_what_others_wanted_asks_to_be_started_again(serial_comm):
    reasons = (None, "STOP", "walltime", "SIGTERM", "SIGUSR1", "SIGHUP", "SIGINT")
    assert [exit_status(reason) for reason in reasons] == [0, 0, 75, 75, 75, 75, 130]
    stream = io.StringIO()
    announce(None, 3, Log(serial_comm, stream))
    announce("walltime", 3, Log(serial_comm, stream))
    assert stream.getvalue() == "stopped at step 3 (walltime); the same command continues from there\n"


@pytest.mark.slow
@pytest.mark.serial
def test_memory_stays_flat_over_a_hundred_thousand_steps(comm, shared_tmp_path):
    """Resident memory after the first 30,000 steps (buffers full) and after 100,000 of a run with a thermostat."""
    sizes = {}

    class Weighing(ForgetfulSurface):
        def at(self, positions_av, memory=None):
            evaluation = super().at(positions_av, memory)
            if memory.calls[0] in (30_000, 65_000, 100_000):
                with open("/proc/self/statm") as file:
                    sizes[int(memory.calls[0])] = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
            return evaluation

    result = test_run.run(
        comm, shared_tmp_path, Weighing(water()), steps=100_000, thermostat="langevin", output_every=10, checkpoint_seconds=1.0
    )
    print("resident memory (MB) by step:", sizes)
    assert result["frames"] == 10_001
    assert np.ptp(list(sizes.values())) < 2.0
