"""``mpiqmd md`` and ``compare``: one loop for three surfaces, resumed runs, agreement of the surfaces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from workplace import WATER, with_keys

from mpiqmd.md.trajectory import Trajectory
from mpiqmd.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

STEPS = 6
SURFACES = ("hifi", "grid", "compiled")
FIELDS = {"steps", "frames", "seconds_per_step", "iterations_per_step", "energy_drift", "temperature_mean", "solver"}


@pytest.fixture(scope="session")
def runs(session_folder):
    """Trajectories made so far, by surface: the first test that needs one makes it."""
    return {}


def command(bench, trained, surface, folder, *options):
    """The command line of a run on one of the surfaces."""
    path = trained.input
    if surface == "grid":
        path = bench.write("grid.toml", with_keys(WATER, rom={"online": "grid"}))
    model = () if surface == "hifi" else ("--model", trained.model)
    return ["md", path, *model, "--output", folder, *options]


def uninterrupted(bench, trained, session_folder, runs, surface):
    """Folder and result of a run without a pause."""
    if surface not in runs:
        folder = session_folder / surface
        runs[surface] = folder, bench.run(*command(bench, trained, surface, folder, "--extxyz"))
    return runs[surface]


def content(bench, folder: Path) -> dict[str, np.ndarray]:
    """What a trajectory holds, on every rank."""

    def read() -> dict[str, np.ndarray]:
        file = Trajectory.open(folder / "trajectory.h5")
        arrays = {"steps": file.steps_t, "positions": file.positions_tav, "velocities": file.velocities_tav}
        return arrays | dict(file.observables)

    return bench.once(read)


@pytest.mark.parametrize("surface", SURFACES)
def test_the_result_of_a_run(bench, trained, session_folder, runs, surface):
    folder, result = uninterrupted(bench, trained, session_folder, runs, surface)
    assert result.keys() >= FIELDS
    assert (result["steps"], result["frames"], result["resumed_from"]) == (STEPS, STEPS + 1, None)
    assert result["solver"] == ("hifi" if surface == "hifi" else "rom")
    assert 1.0 <= result["iterations_per_step"] < 40.0
    assert 20.0 < result["temperature_mean"] < 200.0
    assert result["seconds_per_step"] > 0.0
    for name in ("trajectory.h5", "trajectory.extxyz", "checkpoint.h5"):
        assert (folder / name).stat().st_size > 500


@pytest.mark.parametrize("surface", SURFACES)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(bench, trained, session_folder, runs, surface):
    whole, _ = uninterrupted(bench, trained, session_folder, runs, surface)
    folder = bench.folder / "resumed"
    first = bench.run(*command(bench, trained, surface, folder, "--steps", 3))
    second = bench.run(*command(bench, trained, surface, folder))
    assert (first["steps"], second["steps"], second["resumed_from"]) == (3, STEPS, 3)
    one, other = content(bench, whole), content(bench, folder)
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert np.array_equal(values, other[name]), name


def test_the_compiled_surface_moves_the_nuclei_as_the_grid_one_does(bench, trained, session_folder, runs):
    one, other = (
        content(bench, uninterrupted(bench, trained, session_folder, runs, surface)[0]) for surface in ("grid", "compiled")
    )
    assert np.array_equal(one["positions"][0], other["positions"][0])
    assert np.abs(one["positions"][-1] - one["positions"][0]).max() > 0.01
    assert np.abs(one["positions"] - other["positions"]).max() < 1e-4
    assert np.abs(one["potential_energy"] - other["potential_energy"]).max() < 1e-5


def test_reduced_forces_move_no_centre_of_mass(bench, trained, session_folder, runs):
    folder, _ = uninterrupted(bench, trained, session_folder, runs, "compiled")
    assert content(bench, folder)["velocities"].shape == (STEPS + 1, 3, 3)
    masses_a = bench.once(lambda: Trajectory.open(folder / "trajectory.h5").masses_a)
    momentum_tv = np.einsum("a,tav->tv", masses_a, content(bench, folder)["velocities"])
    assert np.abs(momentum_tv).max() < 1e-10


def test_the_extended_xyz_holds_the_same_numbers_in_angstrom_and_electronvolt(bench, trained, session_folder, runs):
    folder, _ = uninterrupted(bench, trained, session_folder, runs, "compiled")
    expected = content(bench, folder)

    def check() -> None:
        from ase.io import read

        frames = read(folder / "trajectory.extxyz", index=":")
        positions = np.array([frame.get_positions() for frame in frames]) / BOHR_IN_ANGSTROM
        energies = np.array([frame.get_potential_energy() for frame in frames]) / HARTREE_IN_EV
        assert np.abs(positions - expected["positions"]).max() < 1e-7
        assert np.abs(energies - expected["potential_energy"]).max() < 1e-7

    bench.once(check)


def test_compare_draws_and_measures(bench, trained, session_folder, runs):
    folders = [uninterrupted(bench, trained, session_folder, runs, surface)[0] for surface in ("hifi", "compiled")]
    files = [folder / "trajectory.h5" for folder in folders]
    result = bench.run("compare", *files, "--output", bench.folder / "compare")
    assert result["frames"] == STEPS + 1
    one, other = (content(bench, folder) for folder in folders)
    difference = np.abs(one["total_energy"] - other["total_energy"]).max()
    assert result["differences"]["total_energy"]["max"] == pytest.approx(difference, rel=1e-9)
    assert result["differences"]["bond_O-H1"]["max"] < 0.1
    assert len(result["figures"]) == 6
    assert all(Path(figure).stat().st_size > 3000 for figure in result["figures"])


def test_a_run_is_not_continued_with_another_timestep(bench, trained, session_folder, runs, capfd):
    folder, _ = uninterrupted(bench, trained, session_folder, runs, "compiled")
    path = bench.write("other.toml", with_keys(WATER, md={"timestep": 16.0}))
    capfd.readouterr()
    assert bench.status("md", path, "--model", trained.model, "--output", folder) == 1
    message = capfd.readouterr().err
    assert ("md.timestep was 15.0, is 16.0" in message) == (bench.comm.rank == 0)
