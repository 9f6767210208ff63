"""Real processes that are told to end: what they have is saved, and the same command goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from mpiqmd.md.checkpoint import load_checkpoint
from mpiqmd.pipeline.results import read_result
from tests.helpers.workplace import WATER, outside_environment, with_keys

pytestmark = pytest.mark.serial

LONG = with_keys(
    WATER,
    md={"steps": 100_000, "checkpoint_every": 50_000},
    relax={"force_tolerance": 1e-12},
    frequencies={"max_force": 1.0},
)


def at_work(folder, command, sign, ignored=()):
    """A process of a command in whose folder a file ``sign`` has appeared with something in it."""

    def heed():
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    (folder / "water.toml").write_text(LONG)
    words = [sys.executable, "-m", "mpiqmd", command, "water.toml", "--output", "run"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(words, cwd=folder, env=outside_environment(), text=True, preexec_fn=heed, **pipes)
    path = folder / "run" / sign
    while process.poll() is None and not (path.exists() and path.stat().st_size > 2000):
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGHUP, 75), (signal.SIGTERM, 75)])
def test_dynamics_save_first(tmp_path, number, status):
    process = at_work(tmp_path, "md", "checkpoint.h5")
    time.sleep(0.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    result = read_result(tmp_path / "run" / "result.json")
    saved, _ = load_checkpoint(tmp_path / "run" / "checkpoint.h5")
    assert result["stopped"] == number.name and saved.attributes["step"] == result["steps"] > 0
    assert f"({number.name}); the same command continues" in out and "Traceback" not in err
    assert ("Ctrl-C again ends it at once" in err) == (number == signal.SIGINT)


@pytest.mark.parametrize("command, number, status", [("relax", signal.SIGINT, 130), ("frequencies", signal.SIGHUP, 75)])
def test_what_is_evaluated_stays(tmp_path, command, number, status):
    process = at_work(tmp_path, command, f"{command}.jsonl")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "the same command continues" in out and "Traceback" not in err
    assert read_result(tmp_path / "run" / "result.json")["stopped"] == number.name


def test_nohup_is_heeded(tmp_path):
    process = at_work(tmp_path, "md", "checkpoint.h5", ignored=(signal.SIGHUP,))
    process.send_signal(signal.SIGHUP)
    time.sleep(1.0)
    assert process.poll() is None
    process.kill()
    process.communicate()


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    """Stopped meanwhile, so that both arrive before the first can have had an effect."""
    process = at_work(tmp_path, "md", "checkpoint.h5")
    process.send_signal(signal.SIGINT)
    assert "Ctrl-C again" in process.stderr.readline() + process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)
