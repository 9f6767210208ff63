"""Several programs at one folder of ``mpiqmd md``: a second run, kills, stops, readers, and an undisturbed trajectory.

python -m tests.reliability.crowding pairs 100      two runs at random moments
python -m tests.reliability.crowding kills 60       SIGKILL at random moments, and again until it is done
python -m tests.reliability.crowding stops 20       SIGSTOP and SIGCONT
python -m tests.reliability.crowding readers 20     another program reads the file, and keeps it open for the next run
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mpiqmd.claims import CLAIM
from mpiqmd.md.trajectory import Trajectory
from tests.helpers.workplace import H2, with_keys

INPUT = with_keys(
    H2,
    grid={"points": 12, "order": 4},
    md={"steps": 200, "timestep": "0.25 fs", "temperature": "100 K", "checkpoint_every": 1},
)
"""A molecule far from well described, at a hundredth of a second a step."""
REFUSED = "another run is writing here"
READER = """
import sys, time
import h5py
file = h5py.File(sys.argv[1], "r")
before = int((file["particles/molecule/position/step"][:] >= 0).sum())
assert (file["particles/molecule/position/value"][:before] == file["particles/molecule/position/value"][:before]).all()
print(before, flush=True)
sys.stdin.readline()
"""
"""A program of somebody else, with HDF5's own locks as they are by default."""


class Place:
    """A folder, how runs are started in it, and the undisturbed trajectory."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        (folder / "h2.toml").write_text(INPUT)
        self.counts: Counter[str] = Counter()
        started = time.monotonic()
        assert self.start("reference").wait() == 0
        self.seconds = time.monotonic() - started
        self.reference = self.read("reference")

    def start(self, name: str, *words: str, **environment: str) -> subprocess.Popen:
        """Start a run whose output goes to a file."""
        command = [sys.executable, "-m", "mpiqmd", "md", "h2.toml", "--output", name, *words]
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=os.environ | environment)

    def read(self, name: str) -> Trajectory:
        """Return a trajectory."""
        return Trajectory.open(self.folder / name / "trajectory.h5")

    def said(self, name: str) -> str:
        """Return all that the runs of a folder have printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def pause(self, longest: float) -> None:
        """Wait for a random time."""
        time.sleep(self.rng.uniform(0.0, longest))

    def require_undisturbed(self, name: str) -> None:
        """Raise AssertionError unless a trajectory is that of the undisturbed run, bit for bit, and nothing lies about."""
        found, expected = self.read(name), self.reference
        assert np.array_equal(found.steps_t, expected.steps_t), (len(found), len(expected))
        for field in ("positions_tav", "velocities_tav", "forces_tav"):
            assert np.array_equal(getattr(found, field), getattr(expected, field)), field
        left = sorted(path.name for path in (self.folder / name).iterdir())
        assert not [file for file in left if file.endswith(".part") or file == CLAIM], left
        assert "Traceback" not in self.said(name), self.said(name)


def pair(place: Place, name: str, round_: int) -> None:
    """Two runs, the second at a random moment of the first, with and without HDF5's locks and --overwrite."""
    overwrite, locking = list(itertools.product((False, True), ("TRUE", "FALSE")))[round_ % 4]
    words = ["--overwrite"] if overwrite else []
    first = place.start(name, HDF5_USE_FILE_LOCKING=locking)
    place.pause(0.9 * place.seconds)
    second = place.start(f"{name}", *words, HDF5_USE_FILE_LOCKING=locking)
    statuses = sorted([first.wait(), second.wait()])
    place.counts[f"refused {place.said(name).count(REFUSED)}"] += 1
    assert statuses == [0, place.said(name).count(REFUSED)], place.said(name)


def kill(place: Place, name: str, round_: int) -> None:
    """Runs that are killed at random moments until one is quicker."""
    for attempt in itertools.count(1):
        run = place.start(name)
        place.pause(1.2 * place.seconds if attempt < 6 else 0.0)
        if attempt >= 6 or run.poll() is not None:
            break
        run.kill()
        run.wait()
        place.counts["killed"] += 1
    assert run.wait() == 0, place.said(name)


def stop(place: Place, name: str, round_: int) -> None:
    """A run that is stopped now and then, and goes on."""
    run = place.start(name)
    for _ in range(3):
        place.pause(0.4 * place.seconds)
        run.send_signal(signal.SIGSTOP)
        place.pause(1.0)
        run.send_signal(signal.SIGCONT)
        place.counts["stopped"] += 1
    assert run.wait() == 0, place.said(name)


def reader(place: Place, name: str, round_: int) -> None:
    """Half a run with a reader that opens the file on the way and keeps it open through the other half."""
    path, program = place.folder / name / "trajectory.h5", None
    environment = {key: value for key, value in os.environ.items() if key != "HDF5_USE_FILE_LOCKING"}
    half = place.start(name, "--steps", str(place.reference.steps_t[-1] // 2))
    while not path.exists():
        time.sleep(0.01)
    place.pause(0.5 * place.seconds)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    program = subprocess.Popen([sys.executable, "-c", READER, str(path)], env=environment, text=True, **pipes)
    seen = program.stdout.readline()
    assert seen, "the reader failed"
    place.counts["frames seen"] += int(seen)
    place.counts["frames read meanwhile"] += len(place.read(name))
    assert half.wait() == 0, place.said(name)
    assert place.start(name).wait() == 0, place.said(name)
    program.communicate("\n")
    assert program.returncode == 0


SCENES: dict[str, Callable[[Place, str, int], None]] = {"pairs": pair, "kills": kill, "stops": stop, "readers": reader}


def play(scene: str, count: int, folder: Path, seed: int = 1) -> Counter[str]:
    """Play a scene so many times and return what was counted; raises AssertionError if a trajectory suffers."""
    place = Place(folder, random.Random(seed))
    for round_ in range(count):
        name = f"{scene}-{round_}"
        SCENES[scene](place, name, round_)
        place.require_undisturbed(name)
    return place.counts


def main(scene: str, count: str = "10", seed: str = "1") -> None:
    """Play one scene in a temporary folder and print what was counted."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        counts = play(scene, int(count), Path(folder), int(seed))
        print(f"{scene}: {count} rounds in {time.monotonic() - started:.0f} s, {dict(counts)}: all trajectories undisturbed")


if __name__ == "__main__":
    main(*sys.argv[1:])
