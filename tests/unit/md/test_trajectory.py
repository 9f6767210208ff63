"""H5MD files: what is written is read, whatever happened to the writer."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

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
    for name in ("text.h5", "other.h5", "absent.h5"):
        with pytest.raises(DataFileError, match="not a complete trajectory"):
            Trajectory.open(tmp_path / name)


def test_frames_are_chosen_by_step(tmp_path, rng):
    write(tmp_path / "t.h5", frames(rng, range(0, 20, 2))).close()
    trajectory = Trajectory.open(tmp_path / "t.h5")
    some = trajectory.at_steps(np.array([2, 8]))
    assert np.array_equal(some.steps_t, [2, 8]) and np.array_equal(
        some.forces_tav, trajectory.forces_tav[[1, 4]]
    )
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
