"""H5MD files: what is written is read, whatever happened to the writer."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest

from mpiqmd import datafiles
from mpiqmd.errors import DataFileError
from mpiqmd.md.h5md_units import ONE_ATOMIC_UNIT, WRITTEN
from mpiqmd.md.trajectory import Trajectory, write_extxyz
from mpiqmd.md.trajectory_writer import CHUNK_FRAMES, Frame, TrajectoryWriter
from mpiqmd.units import ATOMIC_TIME_IN_FS, BOHR_IN_ANGSTROM, HARTREE_IN_EV

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
    writer = write(tmp_path / "t.h5", written, box_v=np.array([12.0, 13.0, 14.0]), boundary="periodic")
    writer.set_attribute("input", "x" * 100_000)
    writer.close()
    writer.close()
    read = Trajectory.open(tmp_path / "t.h5")
    assert read.symbols == SYMBOLS and np.array_equal(read.masses_a, MASSES)
    assert np.array_equal(read.steps_t, [frame.step for frame in written]) and len(read) == len(written)
    for name, field in (
        ("positions_tav", "positions_av"),
        ("velocities_tav", "velocities_av"),
        ("forces_tav", "forces_av"),
    ):
        assert_close(getattr(read, name), [getattr(frame, field) for frame in written])
    for name in ("total_energy", "temperature"):
        assert np.array_equal(read.observables[name], [frame.observables[name] for frame in written])
    expected = [frame.observables.get("error_estimate", np.nan) for frame in written]
    assert np.array_equal(read.observables["error_estimate"], expected, equal_nan=True)
    assert read.attributes["solver"] == "hifi" and read.timestep == 20.0
    assert read.attributes["input"] == "x" * 100_000
    assert_close(read.box_v, [12.0, 13.0, 14.0])
    assert read.boundary == "periodic"
    numbers = Trajectory.open(tmp_path / "t.h5", with_coordinates=False)
    assert numbers.positions_tav.shape == (0, 3, 3) and np.array_equal(numbers.times_t, read.times_t)


def test_file_is_h5md(tmp_path, rng):
    write(tmp_path / "t.h5", frames(rng, range(5)), box_v=np.full(3, 12.0)).close()
    with h5py.File(tmp_path / "t.h5") as file:
        assert list(file["h5md"].attrs["version"]) == [1, 1]
        assert file["h5md/creator"].attrs["name"] == b"mpiqmd" and "name" in file["h5md/author"].attrs
        molecule = file["particles/molecule"]
        assert (
            molecule["box"].attrs["dimension"] == 3
            and list(molecule["box"].attrs["boundary"]) == [b"none"] * 3
        )
        assert h5py.check_enum_dtype(molecule["species"].dtype) == {"H": 1, "O": 8}
        elements = [molecule[name] for name in ("position", "velocity", "force", "box/edges")]
        elements += list(file["observables"].values())
        for element in elements:
            assert len(element["value"]) == 5
            assert (
                element["step"] == molecule["position/step"] and element["time"] == molecule["position/time"]
            )
        assert molecule["position/value"].attrs["unit"] == molecule["box/edges/value"].attrs["unit"] == "Angstrom"
        assert molecule["box/edges/value"][3] == pytest.approx(12.0 * BOHR_IN_ANGSTROM)
        assert not np.isnan(molecule["box/edges/value"][:]).any()


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


@pytest.mark.parametrize("boundary", ["none", "periodic"])
def test_extended_xyz_is_read_by_ase(tmp_path, rng, boundary):
    io = pytest.importorskip("ase.io")
    write(tmp_path / "t.h5", frames(rng, range(4)), box_v=np.full(3, 12.0), boundary=boundary).close()
    trajectory = Trajectory.open(tmp_path / "t.h5")
    write_extxyz(trajectory, tmp_path / "t.extxyz")
    images = io.read(tmp_path / "t.extxyz", ":")
    assert len(images) == 4 and images[0].get_chemical_symbols() == list(SYMBOLS)
    assert images[0].pbc.tolist() == [boundary == "periodic"] * 3
    assert images[2].cell.lengths() == pytest.approx(12 * BOHR_IN_ANGSTROM)
    assert images[2].positions == pytest.approx(trajectory.positions_tav[2] * BOHR_IN_ANGSTROM, abs=1e-11)
    energy = trajectory.observables["potential_energy"][2] * HARTREE_IN_EV
    assert images[2].get_potential_energy() == pytest.approx(energy, abs=1e-11)
    forces = trajectory.forces_tav[2] * HARTREE_IN_EV / BOHR_IN_ANGSTROM
    assert images[2].get_forces() == pytest.approx(forces, abs=1e-10)


def test_frames_are_chosen_by_step(tmp_path, rng):
    write(tmp_path / "t.h5", frames(rng, range(0, 20, 2))).close()
    trajectory = Trajectory.open(tmp_path / "t.h5")
    some = trajectory.at_steps(np.array([2, 8]))
    assert np.array_equal(some.steps_t, [2, 8]) and np.array_equal(
        some.forces_tav, trajectory.forces_tav[[1, 4]]
    )
    assert np.array_equal(some.observables["temperature"], trajectory.observables["temperature"][[1, 4]])


MDANALYSIS_UNITS = {
    "position": {"Angstrom", "angstrom", "A", "nm", "pm", "fm"},
    "velocity": {"Angstrom ps-1", "Angstrom fs-1", "nm ps-1", "nm ns-1", "pm ps-1", "m s-1"},
    "force": {"kJ mol-1 Angstrom-1", "kJ mol-1 nm-1", "Newton", "N", "J m-1", "kcal mol-1 Angstrom-1"},
    "time": {"ps", "fs", "ns", "second", "sec", "s", "AKMA"},
}
"""Unit strings that the H5MD reader of MDAnalysis 2.11 translates; it refuses a file with any other."""


def test_units_are_those_that_mdanalysis_reads(tmp_path, rng):
    write(tmp_path / "t.h5", frames(rng, range(5)), box_v=np.full(3, 12.0)).close()
    with h5py.File(tmp_path / "t.h5") as file:
        molecule = file["particles/molecule"]
        for name in ("position", "velocity", "force"):
            assert molecule[f"{name}/value"].attrs["unit"] == WRITTEN[name] in MDANALYSIS_UNITS[name]
        assert molecule["position/time"].attrs["unit"] == WRITTEN["time"] in MDANALYSIS_UNITS["time"]


def test_mdanalysis_reads_the_file(tmp_path, rng):
    mdanalysis = pytest.importorskip("MDAnalysis")
    written = list(frames(rng, range(0, 40, 2)))
    write(tmp_path / "t.h5", written, box_v=np.full(3, 12.0), boundary="periodic").close()
    universe = mdanalysis.Universe.empty(3, trajectory=True)
    universe.load_new(str(tmp_path / "t.h5"), format="H5MD")
    assert len(universe.trajectory) == 20
    for frame, step in zip(written, universe.trajectory, strict=True):
        assert step.positions == pytest.approx(frame.positions_av * BOHR_IN_ANGSTROM, rel=1e-6)
        speeds = frame.velocities_av * BOHR_IN_ANGSTROM / (1e-3 * ATOMIC_TIME_IN_FS)
        assert step.velocities == pytest.approx(speeds, rel=1e-6)
        forces = frame.forces_av * HARTREE_IN_EV / BOHR_IN_ANGSTROM * 96.48533212331
        assert step.forces == pytest.approx(forces, rel=1e-6)
        assert step.time == pytest.approx(frame.time * ATOMIC_TIME_IN_FS * 1e-3)
        assert step.dimensions[:3] == pytest.approx(np.full(3, 12.0) * BOHR_IN_ANGSTROM)
        assert step.data["total_energy"] == frame.observables["total_energy"]


def test_files_in_atomic_units_are_still_read(tmp_path, rng):
    """Format 1 had bohr, hartree/bohr and atomic times, and no attribute that says so."""
    written = list(frames(rng, range(4)))
    write(tmp_path / "t.h5", written, box_v=np.full(3, 12.0)).close()
    former = {"position": "bohr", "velocity": "bohr hartree hbar-1", "force": "hartree bohr-1"}
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        molecule = file["particles/molecule"]
        datasets = [(molecule[f"{name}/value"], unit) for name, unit in former.items()]
        datasets += [(molecule["position/time"], "hbar hartree-1"), (molecule["box/edges/value"], "bohr")]
        for dataset, unit in datasets:
            dataset[...] = dataset[...] / ONE_ATOMIC_UNIT[dataset.attrs["unit"]]
            dataset.attrs["unit"] = unit
        del file.attrs["format"]
    read = Trajectory.open(tmp_path / "t.h5")
    assert_close(read.positions_tav, [frame.positions_av for frame in written])
    assert_close(read.forces_tav, [frame.forces_av for frame in written])
    assert_close(read.times_t, [frame.time for frame in written])
    assert_close(read.box_v, np.full(3, 12.0))
    for unit, shown in (("pound", "'pound'"), (5, "5"), ([5, 6], "[5, 6]")):
        with h5py.File(tmp_path / "t.h5", "r+") as file:
            file["particles/molecule/force/value"].attrs["unit"] = unit
        with pytest.raises(DataFileError, match=re.escape(f"is in {shown}; allowed: Angstrom")):
            Trajectory.open(tmp_path / "t.h5")


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
