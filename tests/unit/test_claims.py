"""A folder belongs to one run: who is refused, who takes over from the dead, and that of many one wins."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mpiqmd import claimfiles, processes
from mpiqmd.claimfiles import Holder
from mpiqmd.claims import CLAIM, Claim, holder_of
from mpiqmd.errors import ConfigError, DataFileError

pytestmark = pytest.mark.serial

TAKE = """
import sys
from pathlib import Path
from mpiqmd.claims import Claim
from mpiqmd.errors import ConfigError
claim = Claim(Path(sys.argv[1]), ["md", "other.toml"])
print("ready", flush=True)
sys.stdin.readline()
try:
    claim.take()
    print("taken", flush=True)
    sys.stdin.readline()
    claim.release()
except ConfigError as error:
    print("refused", error, flush=True)
"""


def other_process(folder):
    """Another process that will try to take the folder when it is told to, and give it back when it is told so again."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", TAKE, str(folder)], text=True, bufsize=1, **pipes)
    assert process.stdout.readline() == "ready\n"
    return process


def tell(process):
    process.stdin.write("\n")
    process.stdin.flush()


def elsewhere(path):
    """Make the holder of a claim one of another host: neither process numbers nor locks say anything about it."""
    holder = Holder(**json.loads(path.read_text()))
    path.write_text(json.dumps(asdict(replace(holder, host="other", table="other boot"))))


@pytest.fixture
def quick(monkeypatch):
    """Signs of life in hundredths of a second, and file systems without locks."""
    monkeypatch.setattr(claimfiles, "HEARTBEAT", 0.05)
    monkeypatch.setattr(claimfiles, "SILENCE", 0.6)

    def no_locks(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)


def test_the_second_is_told_who_the_first_is_and_may_come_when_it_is_gone(tmp_path):
    first = Claim(tmp_path / "new" / "folder", ["md", "my water.toml"])
    first.take()
    found = holder_of(tmp_path / "new" / "folder")
    assert (found.pid, found.host, found.command) == (os.getpid(), processes.host(), "mpiqmd md 'my water.toml'")
    with pytest.raises(ConfigError, match=rf"another run is writing here \(`mpiqmd md 'my water.toml'`, process {os.getpid()}"):
        Claim(tmp_path / "new" / "folder", ["md"]).take()
    first.verify()
    first.release()
    first.release()
    assert holder_of(tmp_path / "new" / "folder") is None and not list((tmp_path / "new" / "folder").iterdir())
    second = Claim(tmp_path / "new" / "folder", ["md"])
    second.take()
    second.release()


@pytest.mark.parametrize("blocked", [False, True])
def test_a_killed_run_gives_the_folder_free_at_once_and_a_stopped_one_does_not(tmp_path, monkeypatch, blocked):
    """Nobody buries the killed one here: it stays in the table of processes, dead."""
    if blocked:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no hard links here")))
    process = other_process(tmp_path)
    tell(process)
    assert process.stdout.readline() == "taken\n"
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(ConfigError, match=f"other.toml`, process {process.pid}"):
        Claim(tmp_path, ["md"]).take()
    process.send_signal(signal.SIGCONT)
    process.kill()
    while processes.is_running(process.pid, ""):
        time.sleep(0.01)
    claim = Claim(tmp_path, ["md"])
    claim.take()
    process.communicate()
    assert holder_of(tmp_path).pid == os.getpid()
    claim.release()
    assert not list(tmp_path.iterdir())


def test_a_number_that_belongs_to_another_process_by_now_is_dead(tmp_path):
    claim = Claim(tmp_path, ["md"])
    claim.take()
    holder = Holder(**json.loads((tmp_path / CLAIM).read_text()))
    (tmp_path / CLAIM).write_text(json.dumps(asdict(replace(holder, start="1", token="earlier"))))
    assert holder_of(tmp_path) is None
    again = Claim(tmp_path, ["md"])
    again.take()
    assert holder_of(tmp_path).token == again.holder.token
    with pytest.raises(DataFileError, match="does not belong to this run any more"):
        claim.verify()
    claim.release()
    assert holder_of(tmp_path).token == again.holder.token, "only one's own claim is given back"
    again.release()


@pytest.mark.parametrize("number", [0, -1, 2**70])
def test_impossible_process_numbers_run_nowhere(number):
    assert not processes.is_running(number, "")


def test_without_proc_the_system_is_asked_for_the_number(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PROCESSES", tmp_path)
    assert processes.process_table() == processes.host() and processes.started(os.getpid()) == ""
    assert processes.is_running(os.getpid(), "") and not processes.is_running(2**22 + 5, "")


def test_of_many_that_find_a_dead_claim_one_takes_it(tmp_path):
    """Ten rounds of six processes at the same moment, each round over a claim of a process that is gone."""
    for _ in range(10):
        dead = replace(Holder.this_process(["md"]), start="1", token="dead")
        (tmp_path / CLAIM).write_text(json.dumps(asdict(dead)))
        crowd = [other_process(tmp_path) for _ in range(6)]
        for process in crowd:
            tell(process)
        answers = [process.stdout.readline().split()[0] for process in crowd]
        assert sorted(answers) == ["refused"] * 5 + ["taken"]
        for process in crowd:
            process.communicate("\n")
        assert not list(tmp_path.iterdir())


def test_a_run_elsewhere_that_shows_signs_of_life_keeps_the_folder(tmp_path, quick):
    first = Claim(tmp_path, ["md"])
    first.take()
    elsewhere(tmp_path / CLAIM)
    with pytest.raises(ConfigError, match="on other, since"):
        Claim(tmp_path, ["md"]).take()
    first.release()


def test_a_run_elsewhere_that_is_silent_loses_the_folder_and_learns_of_it(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(Claim, "_live", lambda self: None)
    first = Claim(tmp_path, ["md"])
    first.take()
    elsewhere(tmp_path / CLAIM)
    started, second = time.monotonic(), Claim(tmp_path, ["md"])
    second.take()
    assert time.monotonic() - started > 0.3
    with pytest.raises(DataFileError, match=f"process {os.getpid()} on {processes.host()}"):
        first.verify()
    first.release()
    second.verify()
    second.release()


def test_a_lock_speaks_for_a_run_elsewhere_that_is_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(claimfiles, "SILENCE", 0.0)
    first = Claim(tmp_path, ["md"])
    first.take()
    elsewhere(tmp_path / CLAIM)
    with pytest.raises(ConfigError, match="another run is writing here"):
        Claim(tmp_path, ["md"]).take()
    first.release()


def test_a_claim_removed_by_hand_is_made_again(tmp_path):
    claim = Claim(tmp_path, ["md"])
    claim.take()
    (tmp_path / CLAIM).unlink()
    claim.verify()
    assert holder_of(tmp_path).token == claim.holder.token
    claim.release()


def test_a_folder_that_is_gone_is_lost(tmp_path):
    claim = Claim(tmp_path / "run", ["md"])
    claim.take()
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(DataFileError, match="does not belong to this run any more .*No such file"):
        claim.verify()
    claim.release()


def test_parts_share_a_folder_but_neither_with_the_whole_nor_with_another_division(tmp_path):
    first, second = Claim(tmp_path, ["train"], (1, 2)), Claim(tmp_path, ["train"], (2, 2))
    first.take()
    second.take()
    for part in (None, (2, 2), (3, 3)):
        with pytest.raises(ConfigError, match="another run is writing here"):
            Claim(tmp_path, ["train"], part).take()
    first.release()
    second.release()
    whole = Claim(tmp_path, ["train"])
    whole.take()
    with pytest.raises(ConfigError, match="another run is writing here"):
        Claim(tmp_path, ["train"], (1, 2)).take()
    whole.release()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{}", "[" * 5000, '{"pid": 1}', '"x"', "null", "\0\xff"])
def test_a_claim_that_cannot_be_understood_counts_by_its_age(tmp_path, quick, content):
    """It may be one that is just being made, where there are no hard links."""
    (tmp_path / CLAIM).write_text(content)
    claim, started = Claim(tmp_path, ["md"]), time.monotonic()
    claim.take()
    assert time.monotonic() - started > 0.3 and holder_of(tmp_path).token == claim.holder.token
    claim.release()


@pytest.mark.parametrize("target", ["nowhere", "a file", CLAIM])
def test_a_link_in_the_place_of_a_claim_is_none(tmp_path, target):
    (tmp_path / "a file").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CLAIM).symlink_to(target if target == CLAIM else tmp_path / target)
    claim = Claim(tmp_path / "run", ["md"])
    claim.take()
    assert holder_of(tmp_path / "run").token == claim.holder.token
    claim.release()
    assert (tmp_path / "a file").read_text() == "precious" and not list((tmp_path / "run").iterdir())


def test_a_claim_of_another_host_from_the_future_ends_all_the_same(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(Claim, "_live", lambda self: None)
    first, second = Claim(tmp_path, ["md"]), Claim(tmp_path, ["md"])
    first.take()
    elsewhere(tmp_path / CLAIM)
    os.utime(tmp_path / CLAIM, (4e9, 4e9))
    second.take()
    assert holder_of(tmp_path).token == second.holder.token
    second.release()
    first.release()


@pytest.mark.parametrize("token", ["../../above", "a\0b", "x" * 300, "", "A" * 65])
def test_a_token_that_is_no_name_names_no_file(tmp_path, monkeypatch, token):
    monkeypatch.setattr(claimfiles, "SILENCE", 0.0)
    holder = replace(Holder.this_process(["md"]), host="other", table="other boot", token=token)
    (tmp_path / CLAIM).write_text(json.dumps(asdict(holder)))
    claim = Claim(tmp_path, ["md"])
    claim.take()
    claim.release()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_leads_nowhere_is_refused_in_words(tmp_path, monkeypatch):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(ConfigError, match="--output .*one.*needed"):
        Claim(tmp_path / "one", ["md"]).take()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="--output h2-md: No such file or directory"):
        Claim(Path("h2-md"), ["md"])


def test_what_a_stranger_wrote_is_printed_without_control_characters(tmp_path):
    holder = replace(Holder.this_process(["md"]), command="\x1b]0;title\x07", since="\n\x1b[2J")
    assert "\x1b" not in holder.describe() and "\n" not in holder.describe()


def test_a_folder_that_cannot_be_made_and_things_in_the_place_of_a_claim(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="--output .*needed"):
            Claim(folder, ["md"]).take()
    (tmp_path / CLAIM).mkdir()
    with pytest.raises(ConfigError, match=rf"--output .*Is a directory \(.*{CLAIM}\)"):
        Claim(tmp_path, ["md"]).take()
