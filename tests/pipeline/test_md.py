"""``mpiqmd md`` and ``compare``: one loop for three surfaces, resumed runs, agreement of the surfaces."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from mpiqmd.claims import Claim
from mpiqmd.cli import parse_arguments
from mpiqmd.datafiles import unseal
from mpiqmd.md.checkpoint import load_checkpoint
from mpiqmd.md.noise import replica_seed
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.pipeline.info import describe
from mpiqmd.pipeline.job import run_job
from mpiqmd.pipeline.results import read_result
from mpiqmd.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV
from tests.helpers.workplace import WATER, with_keys

STEPS = 6
SURFACES = ("hifi", "grid", "learned")
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


def test_the_grid_free_surface_moves_the_nuclei_as_the_grid_one_does(bench, trained, session_folder, runs):
    one, other = (
        content(bench, uninterrupted(bench, trained, session_folder, runs, surface)[0]) for surface in ("grid", "learned")
    )
    assert np.array_equal(one["positions"][0], other["positions"][0])
    assert np.abs(one["positions"][-1] - one["positions"][0]).max() > 0.01
    assert np.abs(one["positions"] - other["positions"]).max() < 1e-4
    assert np.abs(one["potential_energy"] - other["potential_energy"]).max() < 1e-5


def test_reduced_forces_move_no_centre_of_mass(bench, trained, session_folder, runs):
    folder, _ = uninterrupted(bench, trained, session_folder, runs, "learned")
    assert content(bench, folder)["velocities"].shape == (STEPS + 1, 3, 3)
    masses_a = bench.once(lambda: Trajectory.open(folder / "trajectory.h5").masses_a)
    momentum_tv = np.einsum("a,tav->tv", masses_a, content(bench, folder)["velocities"])
    assert np.abs(momentum_tv).max() < 1e-10


def test_the_extended_xyz_holds_the_same_numbers_in_angstrom_and_electronvolt(bench, trained, session_folder, runs):
    folder, _ = uninterrupted(bench, trained, session_folder, runs, "learned")
    expected = content(bench, folder)

    def check() -> None:
        from ase.io import read

        frames = read(folder / "trajectory.extxyz", index=":", parallel=False)
        positions = np.array([frame.get_positions() for frame in frames]) / BOHR_IN_ANGSTROM
        energies = np.array([frame.get_potential_energy() for frame in frames]) / HARTREE_IN_EV
        assert np.abs(positions - expected["positions"]).max() < 1e-7
        assert np.abs(energies - expected["potential_energy"]).max() < 1e-7

    bench.once(check)


def test_compare_draws_and_measures(bench, trained, session_folder, runs):
    folders = [uninterrupted(bench, trained, session_folder, runs, surface)[0] for surface in ("hifi", "learned")]
    files = [folder / "trajectory.h5" for folder in folders]
    result = bench.run("compare", *files, "--output", bench.folder / "compare")
    assert result["frames"] == STEPS + 1
    one, other = (content(bench, folder) for folder in folders)
    difference = np.abs(one["total_energy"] - other["total_energy"]).max()
    assert result["differences"]["total_energy"]["max"] == pytest.approx(difference, rel=1e-9)
    assert result["differences"]["bond_O1-H2"]["max"] < 0.1
    assert len(result["figures"]) == 6
    assert all(Path(figure).stat().st_size > 3000 for figure in result["figures"])


def test_a_run_is_not_continued_with_another_timestep(bench, trained, session_folder, runs, capfd):
    folder, _ = uninterrupted(bench, trained, session_folder, runs, "learned")
    path = bench.write("other.toml", with_keys(WATER, md={"timestep": 16.0}))
    capfd.readouterr()
    assert bench.status("md", path, "--model", trained.model, "--output", folder) == 1
    message = capfd.readouterr().err
    assert ("md.timestep was 15.0, is 16.0" in message) == (bench.comm.rank == 0)


@pytest.fixture
def noisy(bench):
    """The input with a stochastic thermostat and a constrained bond; on the grid, which is quicker to set up."""
    md = {"thermostat": "langevin", "relaxation_time": 60.0, "seed": 7, "constraints": [[0, 1]]}
    return bench.write("noisy.toml", with_keys(WATER, md=md, rom={"online": "grid"}))


def motion_difference(one, other):
    """Largest difference of two trajectories, bohr and atomic units, of the same steps."""
    assert np.array_equal(one["steps"], other["steps"])
    return max(np.abs(one[name] - other[name]).max() for name in ("positions", "velocities", "conserved_energy"))


def test_replicas_are_runs_of_their_own_seeds_whatever_the_ranks(bench, trained, noisy):
    """A replica, extended, is the single run with its seed: bitwise on as many ranks, to round-off on others."""
    folder = bench.folder / "replicas"
    words = ("md", noisy, "--model", trained.model, "--output", folder)
    first = bench.run(*words, "--replicas", 3, "--steps", 2)
    result = bench.run(*words, "--replicas", 3)
    assert (first["steps"], result["steps"], result["failed"], result["stopped"]) == (6, 3 * STEPS, [], None)
    assert [summary["resumed_from"] for summary in result["replicas"]] == [2, 2, 2]
    assert [summary["seed"] for summary in result["replicas"]] == [replica_seed(7, index) for index in range(3)]
    for index in (0, 2):
        seed = {"seed": replica_seed(7, index)}
        path = bench.write(f"single-{index}.toml", with_keys(noisy.read_text(), md=seed))
        bench.run("md", path, "--model", trained.model, "--output", bench.folder / f"single-{index}")
        single, replica = content(bench, bench.folder / f"single-{index}"), content(bench, folder / f"replica-{index:04d}")
        assert motion_difference(single, replica) <= (0.0 if bench.comm.size == 1 else 1e-8)
    temperatures = [summary["temperature_mean"] for summary in result["replicas"]]
    assert len(set(temperatures)) == 3 and result["temperature_mean"] == pytest.approx(np.mean(temperatures))
    linked = bench.once(lambda: Trajectory.open(folder / "replica-0001" / "trajectory.h5").positions_tav)
    assert bench.once(index_positions, folder / "replicas.h5", "replica-0001") == pytest.approx(linked, abs=1e-14)
    assert "checksum is right" in bench.once(describe, folder / "replicas.h5")[1][1]


def test_fewer_steps_than_are_done_change_nothing_and_say_so(bench, trained, capfd):
    words = ("md", trained.input, "--model", trained.model, "--output", bench.folder / "run")
    first = bench.run(*words)
    before = bench.once((bench.folder / "run" / "trajectory.h5").read_bytes)
    capfd.readouterr()
    assert run_job(parse_arguments([*map(str, words), "--steps", "4"]), bench.comm) == 0
    printed = bench.comm.bcast(capfd.readouterr().out, root=0)
    assert f"{STEPS} steps are done already, 4 were asked for: nothing is computed, and all {STEPS} are kept" in printed
    assert f"the numbers of all {STEPS} steps, of an earlier run:" in printed
    result = bench.once(read_result, bench.folder / "run" / "result.json")
    assert (result["steps"], result["resumed_from"]) == (first["steps"], STEPS)
    assert bench.once((bench.folder / "run" / "trajectory.h5").read_bytes) == before


def test_info_says_who_is_at_work(bench, trained):
    """A trajectory without a checksum beside a claim, and without one."""
    folder = bench.folder / "run"
    bench.run("md", trained.input, "--model", trained.model, "--output", folder)

    def lines():
        unseal(folder / "trajectory.h5")
        claim = Claim(folder, ["md", "water.toml"])
        claim.take()
        during = describe(folder / "trajectory.h5")[1][1]
        claim.release()
        return during, describe(folder / "trajectory.h5")[1][1]

    during, after = bench.once(lines)
    assert "no checksum yet: `mpiqmd md water.toml`, process " in during and during.endswith("is still at work")
    assert "its writer was killed" in after


def index_positions(path, name):
    with h5py.File(path) as file:
        return 10.0 * file[f"{name}/particles/molecule/position/value"][:] / BOHR_IN_ANGSTROM


def test_replicas_that_would_be_the_same_are_refused(bench, trained, capfd):
    path = bench.write("still.toml", with_keys(WATER, md={"initial_velocities": "zero"}))
    capfd.readouterr()
    assert bench.status("md", path, "--model", trained.model, "--replicas", 2, "--output", bench.folder / "out") == 1
    assert ("would be the same trajectory" in capfd.readouterr().err) == (bench.comm.rank == 0)


def test_replicas_that_fail_are_named(bench, trained):
    rom = {"online": "grid", "on_large_error": "stop", "error_tolerance": 1e-12}
    path = bench.write("strict.toml", with_keys(WATER, rom=rom))
    folder = bench.folder / "failing"
    assert bench.status("md", path, "--model", trained.model, "--replicas", 3, "--output", folder) == 1
    result = read_result(folder / "result.json")
    assert result["failed"] == [0, 1, 2] and result["exit_status"] == 1 and result["temperature_mean"] is None
    assert all("MD step 0" in summary["error"] for summary in result["replicas"])


@pytest.mark.parametrize(("reason", "status"), [("STOP", 0), ("walltime", 75)])
@pytest.mark.parametrize("replicas", [(), ("--replicas", 2)], ids=["one", "replicas"])
def test_a_run_that_ends_early_says_so_and_continues(bench, trained, session_folder, runs, noisy, reason, status, replicas):
    words = ("md", noisy, "--model", trained.model, *replicas)
    whole, folder = session_folder / f"noisy{len(replicas)}", bench.folder / "parts"
    if whole not in runs:
        runs[whole] = bench.run(*words, "--output", whole)
    if reason == "STOP":
        bench.once(lambda: folder.mkdir())
        bench.once((folder / "STOP").touch)
    options = ("--walltime", "0.01") if reason == "walltime" else ()
    assert bench.status(*words, "--output", folder, *options) == status
    result = read_result(folder / "result.json")
    assert (result["stopped"], result["exit_status"]) == (reason, status)
    assert result["steps"] < STEPS and not (folder / "STOP").exists()
    bench.comm.Barrier()
    assert bench.run(*words, "--output", folder)["stopped"] is None
    part = "replica-0001" if replicas else "."
    assert motion_difference(content(bench, whole / part), content(bench, folder / part)) == 0.0


def test_a_run_that_left_the_tables_goes_on_from_its_last_good_step(bench, trained):
    """Stopped outside the tables, then continued with a warning: bitwise the run that was allowed to go on from the start."""
    hot = with_keys(WATER, md={"temperature": "4000 K", "thermostat": "none", "steps": 60, "checkpoint_every": 50})
    strict = bench.write("strict.toml", with_keys(hot, rom={"on_large_error": "stop", "check_every": 0}))
    folder, whole = bench.folder / "left", bench.folder / "whole"
    assert bench.status("md", strict, "--model", trained.model, "--output", folder) == 1
    last = bench.once(lambda: load_checkpoint(folder / "checkpoint.h5")[0].attributes["step"])
    assert 0 < last < 50
    words = ["--model", trained.model, "--steps", last + 3]
    lenient = bench.write("lenient.toml", with_keys(hot, rom={"check_every": 0}))
    result = bench.run("md", lenient, *words, "--output", folder)
    assert result["resumed_from"] == last and 1 <= result["error_checks"]["solved_on_grid"] <= 3
    assert result["error_checks"]["solved_in_full"] == 0
    again = bench.run("md", lenient, *words, "--output", whole)
    assert again["error_checks"] == result["error_checks"]
    assert motion_difference(content(bench, folder), content(bench, whole)) == 0.0
