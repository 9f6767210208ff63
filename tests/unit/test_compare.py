"""compare, plot and info on files with known contents; on any number of ranks."""

from __future__ import annotations

import io
import json
import re
from argparse import Namespace

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.errors import DataFileError
from mpiqmd.md.checkpoint import save_checkpoint
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.md.trajectory_writer import Frame, TrajectoryWriter
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.parallel.log import Log, silent
from mpiqmd.pipeline import compare, info, plot
from mpiqmd.plots.compare import labels_with_cost
from mpiqmd.units import KELVIN_IN_HARTREE

SHIFTS = {"length": 0.01, "angle": 0.5, "energy": 2e-5, "temperature": 3 * KELVIN_IN_HARTREE}


def write(path, solver, factor=0.0, symbols=("O", "H", "H"), timestep=40.0, steps=range(0, 40, 2), seconds=None):
    """Water whose coordinates and energies are moved by ``factor * cos(step)`` times the ``SHIFTS``."""
    writer = TrajectoryWriter.create(path, symbols, np.ones(3), {"solver": solver, "timestep": timestep})
    if seconds:
        writer.set_attribute("seconds_per_step", seconds)
    for step in steps:
        wave = factor * np.cos(step)
        length, half = 1.8 + wave * SHIFTS["length"], np.radians(104.5 + wave * SHIFTS["angle"]) / 2
        arms = [[length * np.cos(half), sign * length * np.sin(half), 0.0] for sign in (1, -1)]
        energy = -17.0 + wave * SHIFTS["energy"]
        observables = dict.fromkeys(("potential_energy", "kinetic_energy", "total_energy", "conserved_energy"), energy)
        observables["temperature"] = 300 * KELVIN_IN_HARTREE + wave * SHIFTS["temperature"]
        rest_av = np.zeros((3, 3))
        writer.append(Frame(step, step * timestep, np.array([[0.0] * 3, *arms]), rest_av, rest_av, observables))
    writer.close()


def arguments(folder, **changes):
    return Namespace(first=folder / "a.h5", second=folder / "b.h5", folder=folder, **changes)


@pytest.mark.serial
def test_the_figure_says_what_a_step_cost(tmp_path):
    slow, fast, unknown = (tmp_path / f"{name}.h5" for name in ("slow", "fast", "unknown"))
    write(slow, "hifi", seconds=0.5)
    write(fast, "rom", seconds=5e-4)
    write(unknown, "rom")
    hifi, rom, other = (Trajectory.open(path) for path in (slow, fast, unknown))
    assert labels_with_cost(hifi, rom) == ["Hi-Fi (0.5 s per step)", "ROM (0.5 ms per step, 1000 times faster)"]
    assert labels_with_cost(hifi, other) == ["Hi-Fi", "ROM"]


def test_known_differences_are_found(comm, shared_tmp_path):
    on_rank_zero(comm, write, shared_tmp_path / "a.h5", "hifi", 0.0, ("O", "H", "H"), 40.0, range(0, 40, 2), 5.0)
    on_rank_zero(comm, write, shared_tmp_path / "b.h5", "rom", 1.0, ("O", "H", "H"), 40.0, range(0, 30, 3), 0.02)
    stream = io.StringIO()
    log = Log(comm, stream)
    result = compare.run(arguments(shared_tmp_path), comm, log)
    log.release()
    common = np.arange(0, 30, 6)
    wave = np.cos(common)
    assert result["frames"] == len(common) and result["labels"] == ["Hi-Fi", "ROM"]
    expected = {
        "bond_O1-H2": ("length", "bohr", 1),
        "bond_O1-H3": ("length", "bohr", 1),
        "angle_H2-O1-H3": ("angle", "degrees", 1),
        "total_energy": ("energy", "Ha", 1),
        "potential_energy": ("energy", "Ha", 1),
        "kinetic_energy": ("energy", "Ha", 1),
        "temperature": ("temperature", "K", 1 / KELVIN_IN_HARTREE),
    }
    assert result["differences"].keys() == expected.keys()
    for name, (shift, unit, factor) in expected.items():
        found = result["differences"][name]
        assert found["unit"] == unit
        assert found["max"] == pytest.approx(SHIFTS[shift] * factor * np.abs(wave).max(), rel=1e-7)
        assert found["rms"] == pytest.approx(SHIFTS[shift] * factor * np.sqrt(np.mean(wave**2)), rel=1e-7)
    assert result["speed_up"] == pytest.approx(250.0) and json.dumps(result)
    assert comm.allgather(result) == [result] * comm.size
    assert ("ratio 250" in stream.getvalue()) == (comm.rank == 0)
    names = sorted(path.name for path in shared_tmp_path.glob("figure-*"))
    assert names == sorted(f"figure-{n}.{s}" for n in ("geometry", "energy", "differences") for s in ("png", "pdf"))
    assert all(path.stat().st_size > 5000 for path in shared_tmp_path.glob("figure-*"))


@pytest.mark.serial
@pytest.mark.parametrize(
    ("moves", "follows", "words"),
    [
        (1.0, 1.005, "the same trajectory: "),
        (1.0, 0.95, "nearly the same trajectory, good for"),
        (1.0, -1.0, "different trajectories: .* differs by 2 times"),
        (0.0, 1.0, "not judged"),
    ],
)
def test_it_ends_by_saying_how_far_trajectories_part(tmp_path, moves, follows, words):
    """The second moves so many times as far as the first, which differs from it by one less."""
    write(tmp_path / "a.h5", "hifi", moves)
    write(tmp_path / "b.h5", "rom", follows)
    stream = io.StringIO()
    log = Log(MPI.COMM_SELF, stream)
    compare.run(arguments(tmp_path), MPI.COMM_SELF, log)
    log.release()
    assert re.match("verdict: " + words, stream.getvalue().splitlines()[-1])


@pytest.mark.parametrize(
    "second, message",
    [
        ({"timestep": 20.0}, "timestep of 0.967554 fs, .* one of 0.483777 fs"),
        ({"symbols": ("O", "H", "F")}, "is of O H H, .* of O H F"),
        ({"steps": range(1, 9, 2)}, "no step in common"),
    ],
)
def test_unlike_trajectories_are_refused(comm, shared_tmp_path, second, message):
    on_rank_zero(comm, write, shared_tmp_path / "a.h5", "hifi")
    on_rank_zero(comm, lambda: write(shared_tmp_path / "b.h5", "rom", **second))
    with pytest.raises(DataFileError, match=message):
        compare.run(arguments(shared_tmp_path), comm, silent(comm))


def test_plot_recognises_the_file(comm, shared_tmp_path):
    def make():
        write(shared_tmp_path / "trajectory.h5", "hifi")
        with h5py.File(shared_tmp_path / "model.h5", "w") as file:
            file["basis/singular_values"] = np.exp(-np.arange(8.0))
            file["basis"].attrs["rank"] = 5
        with h5py.File(shared_tmp_path / "empty.h5", "w") as file:
            file["something"] = 1
        train = {"command": "train", "singular_values": [3.0, 1.0, 0.1], "rank": 2}
        (shared_tmp_path / "result.json").write_text(json.dumps(train))
        (shared_tmp_path / "scf.json").write_text(json.dumps({"command": "scf"}))

    on_rank_zero(comm, make)
    for name, kind, n_figures in (
        ("trajectory.h5", "trajectory", 2),
        ("model.h5", "model", 1),
        ("result.json", "training", 1),
    ):
        request = Namespace(file=shared_tmp_path / name, folder=shared_tmp_path)
        result = plot.run(request, comm, silent(comm))
        assert result["kind"] == kind and len(result["figures"]) == 2 * n_figures
    for name, found in (
        ("empty.h5", "with something in it"),
        ("scf.json", "result of `mpiqmd scf`"),
        ("absent.h5", "cannot read the HDF5 file .*absent.h5: No such file or directory"),
    ):
        with pytest.raises(DataFileError, match=found):
            plot.run(Namespace(file=shared_tmp_path / name, folder=shared_tmp_path), comm, silent(comm))


def test_info_says_what_a_file_holds(comm, shared_tmp_path):
    def make():
        write(shared_tmp_path / "trajectory.h5", "rom")
        identity = np.frombuffer(b'{"md.timestep": "40.0"}', dtype=np.uint8)
        groups = {"run": {"identity": identity}, "dynamics": {"step": np.array(30)}}
        save_checkpoint(shared_tmp_path / "checkpoint.h5", {"step": 30, "time": 1200.0}, groups)
        content = (shared_tmp_path / "checkpoint.h5").read_bytes()
        (shared_tmp_path / "damaged.h5").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        (shared_tmp_path / "cut.h5").write_bytes(content[:500])

    on_rank_zero(comm, make)

    def describe(name):
        result = info.run(Namespace(file=shared_tmp_path / name), comm, silent(comm))
        return result["kind"], "\n".join(result["lines"])

    kind, text = describe("trajectory.h5")
    assert kind == "trajectory" and "20 frames, steps 0 to 38, to 36.77 fs" in text
    assert "@solver = rom" in text and "particles/molecule/position/value: 20x3x3 float64 [nm]  positions of the nuclei" in text
    kind, text = describe("checkpoint.h5")
    assert kind == "checkpoint" and "step 30, 29.03 fs" in text and "md.timestep: 40.0" in text
    assert "checksum is right" in text
    with pytest.raises(DataFileError, match=r"damaged\.h5: .*checksum of its \d+ bytes does not match"):
        describe("damaged.h5")
    with pytest.raises(DataFileError, match=r"cut\.h5: not a complete HDF5 file"):
        describe("cut.h5")
