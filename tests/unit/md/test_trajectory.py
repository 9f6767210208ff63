"""H5MD files: what is written is read, whatever happened to the writer."""

from __future__ import annotations

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from mpiqmd import datafiles
from mpiqmd.errors import DataFileError
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.md.trajectory_writer import CHUNK_FRAMES, Frame, TrajectoryWriter

pytestmark = pytest.mark.serial
SYMBOLS = ("O", "H", "H")
MASSES = np.array([29156.0, 1837.0, 1837.0])


def frames(rng, steps):
    names = ("potential_energy", "kinetic_energy", "total_energy", "conserved_energy", "temperature")
    for step in steps:
        extras = {"error_estimate": 0.5 * step} if step % 10 == 0 and step > 0 else {}
        yield Frame(
            step,
            20.0 * step,
            *rng.normal(size=(3, 3, 3)),
            {**dict(zip(names, rng.normal(size=5), strict=True)), **extras},
            {"force_error": np.abs(rng.normal(size=3))} if extras else {},
        )


def write(path, written, **options):
    writer = TrajectoryWriter.create(path, SYMBOLS, MASSES, {"solver": "hifi", "timestep": 20.0}, **options)
    for index, frame in enumerate(written):
        writer.append(frame)
        if index % 7 == 0:
            writer.flush()
    return writer


def assert_close(found, expected):
    """Equal but for the round-off of the conversion to the units of the file and back."""
    np.testing.assert_allclose(found, expected, rtol=4e-16, atol=0)


def test_round_trip(tmp_path, rng):
    written = list(frames(rng, range(0, 3 * CHUNK_FRAMES, 2)))
    writer = write(tmp_path / "t.h5", written, box_v=np.array([12.0, 13.0, 14.0]))
    writer.set_attribute("input", "x" * 100_000)
    writer.close()
    writer.close()
    read = Trajectory.open(tmp_path / "t.h5")
    assert read.symbols == SYMBOLS
    assert_close(read.masses_a, MASSES)
    assert np.array_equal(read.steps_t, [frame.step for frame in written]) and len(read) == len(written)
    for name, field in (
        ("positions_tav", "positions_av"),
        ("velocities_tav", "velocities_av"),
        ("forces_tav", "forces_av"),
    ):
        assert_close(getattr(read, name), [getattr(frame, field) for frame in written])
    for name in ("total_energy", "temperature"):
        assert_close(read.observables[name], [frame.observables[name] for frame in written])
    expected = [frame.observables.get("error_estimate", np.nan) for frame in written]
    assert_close(read.observables["error_estimate"], expected)
    atomic = [frame.per_atom.get("force_error", np.full(3, np.nan)) for frame in written]
    assert_close(read.per_atom["force_error"], atomic)
    assert_close(read.at_steps(np.array([10, 20])).per_atom["force_error"], [atomic[5], atomic[10]])
    assert read.attributes["solver"] == "hifi" and read.timestep == 20.0
    assert read.attributes["input"] == "x" * 100_000
    assert_close(read.box_v, [12.0, 13.0, 14.0])
    numbers = Trajectory.open(tmp_path / "t.h5", with_coordinates=False)
    assert numbers.positions_tav.shape == (0, 3, 3) and np.array_equal(numbers.times_t, read.times_t)


@pytest.mark.parametrize("step", [0, 4, 6, 38])
def test_resume_drops_later_frames(tmp_path, rng, step):
    written = list(frames(rng, range(0, 40, 2)))
    write(tmp_path / "t.h5", written).close()
    writer = TrajectoryWriter.resume(tmp_path / "t.h5", step, 2, SYMBOLS)
    again = list(frames(rng, range(step + 2, 60, 2)))
    for frame in again:
        writer.append(frame)
    writer.close()
    read = Trajectory.open(tmp_path / "t.h5")
    expected = written[: step // 2 + 1] + again
    assert np.array_equal(read.steps_t, np.arange(0, 60, 2))
    assert_close(read.positions_tav, [frame.positions_av for frame in expected])


def test_file_of_a_live_run_can_be_read(tmp_path, rng):
    """Copying the file while its writer is open is what a kill leaves behind."""
    writer = write(tmp_path / "t.h5", frames(rng, range(CHUNK_FRAMES + 10)))
    writer.flush()
    (tmp_path / "killed.h5").write_bytes((tmp_path / "t.h5").read_bytes())
    assert len(Trajectory.open(tmp_path / "killed.h5")) == CHUNK_FRAMES + 10
    TrajectoryWriter.resume(tmp_path / "killed.h5", 20, 1, SYMBOLS).close()
    assert len(Trajectory.open(tmp_path / "killed.h5")) == 21
    writer.close()


def test_missing_frames_and_strange_files_are_refused(tmp_path, rng):
    write(tmp_path / "t.h5", frames(rng, range(0, 10, 2))).close()
    with pytest.raises(DataFileError, match=r"5 frames up to step 20 .* but 11 were expected"):
        TrajectoryWriter.resume(tmp_path / "t.h5", 20, 2, SYMBOLS)
    (tmp_path / "text.h5").write_text("not HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = 1
    for name, words in (("text.h5", "not a complete"), ("other.h5", "not a complete"), ("absent.h5", "cannot read the")):
        with pytest.raises(DataFileError, match=f"{words} trajectory"):
            Trajectory.open(tmp_path / name)


def test_frames_are_chosen_by_step(tmp_path, rng):
    write(tmp_path / "t.h5", frames(rng, range(0, 20, 2))).close()
    trajectory = Trajectory.open(tmp_path / "t.h5")
    some = trajectory.at_steps(np.array([2, 8]))
    assert np.array_equal(some.steps_t, [2, 8]) and np.array_equal(some.forces_tav, trajectory.forces_tav[[1, 4]])
    assert np.array_equal(some.observables["temperature"], trajectory.observables["temperature"][[1, 4]])


@pytest.mark.parametrize("moment", ["copy", "change", "replace"])
def test_a_kill_while_the_layout_changes_leaves_a_whole_file(tmp_path, rng, monkeypatch, moment):
    """Growing, new observables and trimming happen on a copy: whenever that stops, all frames before are there."""
    written = list(frames(rng, range(CHUNK_FRAMES + 20)))
    writer = write(tmp_path / "t.h5", written[:CHUNK_FRAMES])
    writer.flush()

    class KilledError(Exception):
        pass

    def kill(*args):
        raise KilledError

    target = {"copy": "shutil.copyfile", "change": "resize", "replace": "os.replace"}[moment]
    monkeypatch.setattr(f"mpiqmd.md.trajectory_writer.{target}", kill)
    for frame in written[CHUNK_FRAMES:]:
        writer.append(frame)
    with pytest.raises(KilledError):
        writer.flush()
    writer.close()
    monkeypatch.undo()
    read = Trajectory.open(tmp_path / "t.h5")
    assert_close(read.positions_tav, [frame.positions_av for frame in written[:CHUNK_FRAMES]])
    assert [path.name for path in tmp_path.iterdir()] == ["t.h5"]
    TrajectoryWriter.resume(tmp_path / "t.h5", 200, 1, SYMBOLS).close()
    assert len(Trajectory.open(tmp_path / "t.h5")) == 201


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_a_writer_notices_that_its_file_is_another_by_now(tmp_path, rng, what):
    path = tmp_path / "t.h5"
    writer = write(path, frames(rng, range(5)))
    if what == "replaced":
        other = write(tmp_path / "other.h5", frames(rng, range(3)))
        other.close()
        os.replace(tmp_path / "other.h5", path)
        before = path.read_bytes()
    else:
        path.unlink()
    writer.append(next(frames(rng, [5])))
    with pytest.raises(DataFileError, match="not the file any more that this run writes"):
        writer.flush()
    with pytest.raises(DataFileError, match="removed or replaced"):
        writer.close()
    assert what == "removed" or path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ([path.name] if what == "replaced" else [])


def test_a_growing_file_is_read_by_others_at_any_time(tmp_path, rng):
    """Ours and a plain h5py, with the locks that HDF5 takes by itself; and the writer goes on and is continued beside both."""
    path = tmp_path / "t.h5"
    writer = write(path, [])
    held = []
    for step in range(3 * CHUNK_FRAMES):
        writer.append(next(frames(rng, [step])))
        writer.flush()
        if step % 40 == 0:
            assert np.array_equal(Trajectory.open(path).steps_t, np.arange(step + 1))
            held.append(subprocess.Popen([sys.executable, "-c", HOLD, str(path)], text=True, **PIPES))
            assert held[-1].stdout.readline() == f"{step + 1}\n"
    writer.close()
    TrajectoryWriter.resume(path, 3 * CHUNK_FRAMES - 1, 1, SYMBOLS).close()
    assert len(Trajectory.open(path)) == 3 * CHUNK_FRAMES
    for process in held:
        process.communicate("\n")
        assert process.returncode == 0


HOLD = """
import h5py, sys
file = h5py.File(sys.argv[1], "r")
print(int((file["particles/molecule/position/step"][:] >= 0).sum()), flush=True)
sys.stdin.readline()
"""
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


def test_what_cannot_be_opened_for_writing_is_named(tmp_path, rng):
    (tmp_path / "t.h5").mkdir()
    with pytest.raises(DataFileError, match=r"cannot write .*t\.h5"):
        write(tmp_path / "t.h5", [])
    assert [path.name for path in tmp_path.iterdir()] == ["t.h5"]


def test_a_file_that_is_taken_up_while_its_seal_is_checked_is_not_damaged(tmp_path, rng, monkeypatch):
    path = tmp_path / "t.h5"
    write(path, frames(rng, range(5))).close()
    digest = datafiles._digest

    def taken_up_meanwhile(stream, size):
        datafiles.unseal(path)
        monkeypatch.setattr(datafiles, "_digest", digest)
        return b"another"

    monkeypatch.setattr(datafiles, "_digest", taken_up_meanwhile)
    assert len(Trajectory.open(path)) == 5
