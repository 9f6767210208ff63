"""``mpiqmd train`` on any small molecule: thermal motion, trajectories, greedy choice; the ion H3+ has one orbital."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mpiqmd.cli import parse_arguments
from mpiqmd.config import load_input
from mpiqmd.exchange.structure import Structure
from mpiqmd.exchange.structure_files import read_structures, write_geometries
from mpiqmd.keys.registries import SAMPLING_RULES
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import oriented
from mpiqmd.molecule.symmetry import grid_symmetries
from mpiqmd.parallel.log import silent
from mpiqmd.pipeline.build import build_model, build_molecule, build_training_solver
from mpiqmd.pipeline.identity import snapshot_signature
from mpiqmd.pipeline.job import run_job
from mpiqmd.pipeline.results import read_result
from mpiqmd.pipeline.sampling import TrainingSources, choose_geometries, rule_of_input
from mpiqmd.rom.greedy import CandidateEstimator, solve_greedily
from mpiqmd.rom.offline import compress
from mpiqmd.rom.snapshot_orbitals import SnapshotOrbitals
from mpiqmd.rom.snapshots import SnapshotStore
from tests.helpers.rigid_motions import random_rotation
from tests.helpers.workplace import Bench, with_keys

IONS = """
[system]
symbols = ["H", "H", "H"]
charge = 1
positions = [[-0.576, 0.138, 0.749], [-0.154, -0.443, -0.769], [1.031, 0.155, 0.26]]
[grid]
cell = 6.5
points = 22
order = 6
[md]
steps = 8
timestep = 15.0
temperature = "300 K"
[train]
sampling = "normal-modes"
count = 8
validation = 2
rounds = 1
[rom]
online = "grid"
"""
"""An equilateral triangle of protons, turned and shifted."""


@pytest.fixture(scope="module")
def chosen(session_folder):
    """The input and a folder in which the geometries are chosen, for the tests that go on from there."""
    from mpi4py import MPI

    bench = Bench(MPI.COMM_WORLD.Dup(), session_folder)
    path, folder = bench.write("ions.toml", IONS), session_folder / "ions"
    return path, folder, bench.run("train", path, "--samples-only", "--output", folder)


@pytest.fixture(scope="module")
def thermal(chosen, session_folder):
    """The model of thermal motion: input, folder, result."""
    from mpi4py import MPI

    path, folder, _ = chosen
    return path, folder, Bench(MPI.COMM_WORLD.Dup(), session_folder).run("train", path, "--output", folder)


@pytest.fixture(scope="module")
def moved(thermal, session_folder):
    """A trajectory on that model."""
    from mpi4py import MPI

    path, folder, _ = thermal
    bench = Bench(MPI.COMM_WORLD.Dup(), session_folder)
    bench.run("md", path, "--model", folder / "model.h5", "--output", session_folder / "ions-md")
    return session_folder / "ions-md" / "trajectory.h5"


def modes_of(bench, folder):
    return bench.once(lambda: json.loads((folder / "modes.json").read_text()))


def test_the_reference_is_relaxed_symmetric_and_written(bench, chosen):
    _, folder, result = chosen
    assert result["samples"] == 8 and len(result["labels"][0]) == 3
    reference = Molecule(("H",) * 3, np.array(modes_of(bench, folder)["positions"]), charge=1)
    assert len(grid_symmetries(reference)) == 5
    written = bench.once(read_structures, folder / "geometries.extxyz")
    assert (written[0].symbols, written[0].charge, written[0].masses_a) == (("H",) * 3, 1, None)
    assert written[0].positions_av == pytest.approx(reference.positions_av, abs=1e-7)
    frame = make_frame(reference)
    for structure, positions_av in zip(written, result["positions"], strict=True):
        assert structure.positions_av == pytest.approx(np.array(positions_av), abs=1e-7)
        assert frame.align(positions_av).body_positions_av == pytest.approx(np.array(positions_av), abs=1e-9)


def test_thermal_motion_trains_a_model_that_moves(bench, thermal, moved):
    _, _, result = thermal
    assert result["snapshots"] == 8 and result["rank"] > 8
    assert result["errors"]["training"]["energy"]["lowest"] > -1e-9
    for row in result["unseen"]:
        assert 0 < row["energy_error"] < 1e-3
        assert 0.3 < row["error_estimate"] / row["energy_error"] < 2.0
    observables = bench.once(Trajectory.open, moved).observables
    assert np.ptp(observables["conserved_energy"]) < 0.05 * np.ptp(observables["kinetic_energy"])
    assert 0.0 < observables["training_distance"].max() < 3.0


def test_a_model_has_no_more_modes_than_asked_for(bench, thermal):
    path, folder, result = thermal
    settings, solver, plan = work_of(bench, path, folder)
    store = SnapshotStore(folder / "snapshots.h5", snapshot_signature(settings, solver.model), bench.comm)
    snapshots = SnapshotOrbitals(store, solver.model.grid).all()

    def rank(**changes):
        return compress(snapshots, plan.symmetries, replace(settings.rom, **changes), silent(bench.comm)).rank

    assert rank() == rank(max_rank=1000) == result["rank"] > 5
    assert rank(max_rank=5) == 5
    assert rank(max_rank=5, rank=6) == 6


def test_more_geometries_and_parts_go_on_from_the_same_modes(bench, thermal):
    _, folder, result = thermal
    before = modes_of(bench, folder)
    more = bench.write("more.toml", with_keys(IONS, train={"count": 10, "validation": 0}))
    assert bench.status("train", more, "--part", "5/5", "--output", folder) == 0
    part = bench.once(read_result, folder / "result-0008-0009.json")
    assert part["geometries"] == [8, 9] and part["finished"] == 2
    settings, solver, plan = work_of(bench, more, folder)
    store = SnapshotStore(folder / "snapshots.h5", snapshot_signature(settings, solver.model), bench.comm)
    solver.open(store, plan.samples)
    assert len(store) == 10 and store.pending == []
    assert store.energies_s.tolist() == result["energies"] + part["energies"]
    assert modes_of(bench, folder) == before


def test_motion_that_leaves_straight_lines_is_warned_of(bench, chosen, capfd):
    path, folder, _ = chosen
    hot = bench.write("hot.toml", with_keys(IONS, train={"temperature": "20000 K"}))
    for name, warned in ((hot, bench.comm.rank == 0), (path, False)):
        assert run_job(parse_arguments(["train", str(name), "--samples-only", "--output", str(folder)]), bench.comm) == 0
        assert ("warning: atoms move by up to" in capfd.readouterr().out) == warned


def test_parts_need_chosen_geometries(bench, capfd):
    path = bench.write("ions.toml", IONS)
    assert bench.status("train", path, "--part", "1/2", "--output", bench.folder / "out") == 1
    assert "--samples-only" in bench.comm.bcast(capfd.readouterr().err, root=0)


def test_choosing_may_be_interrupted(bench):
    path, folder = bench.write("ions.toml", IONS), bench.folder / "out"
    assert bench.status("train", path, "--samples-only", "--walltime", "0.001", "--output", folder) == 75
    assert bench.once(read_result, folder / "result.json")["stopped"] == "walltime"
    assert not bench.once((folder / "modes.json").exists)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ('{"identity": {}}', "not a complete file of vibrations"),
        ('{"identity": [], "positions": [[0, 0, 0]], "hessian": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}', "identity of a surface"),
        ('{"identity": {}, "positions": [[0, 0, "\\u001b[2J"]], "hessian": []}', "not a complete file of vibrations"),
        ("[]", "not a complete file"),
        ("{", "not a complete file"),
        (None, "physics.cell was"),
    ],
)
def test_modes_of_something_else_are_refused(bench, chosen, capfd, content, part):
    _, folder, _ = chosen
    path = bench.write("ions.toml", IONS.replace("cell = 6.5", "cell = 6.6"))
    bench.once((bench.folder / "out").mkdir)
    text = content or bench.once((folder / "modes.json").read_text)
    bench.write("out/modes.json", text)
    assert bench.status("train", path, "--samples-only", "--output", bench.folder / "out") == 1
    message = bench.comm.bcast(capfd.readouterr().err, root=0)
    assert part in message and "modes.json" in message


def test_few_frames_represent_a_trajectory(bench, moved):
    keys = {"sampling": "trajectory", "structures": str(moved), "count": 4}
    frames_sav = bench.once(Trajectory.open, moved).positions_tav
    chosen = _samples(bench, "few.toml", keys)
    assert len(chosen) == 4 and _all_among(chosen, frames_sav)
    # the same from any file ASE reads, and all of them
    ions = Structure(("H",) * 3, frames_sav[0])
    bench.once(write_geometries, bench.folder / "frames.extxyz", ions, frames_sav)
    keys["structures"] = str(bench.folder / "frames.extxyz")
    assert _samples(bench, "few.toml", keys) == pytest.approx(chosen, abs=1e-6)
    assert len(_samples(bench, "all.toml", keys | {"sampling": "structures"})) == len(frames_sav)


def _samples(bench, name, keys):
    path = bench.write(name, with_keys(IONS, train=keys))
    return np.array(bench.run("train", path, "--samples-only", "--output", bench.folder / name[:-5])["positions"])


def _all_among(chosen_sav, frames_sav):
    """Whether all geometries are among the frames but for rigid motion, by their sorted distances."""

    def distances(positions_av):
        return np.array([np.linalg.norm(positions_av[i] - positions_av[j]) for i, j in ((0, 1), (0, 2), (1, 2))])

    frames = np.array([distances(frame) for frame in frames_sav])
    return all(np.abs(frames - distances(positions_av)).max(axis=1).min() < 1e-9 for positions_av in chosen_sav)


def work_of(bench, path, folder, **changes):
    """The settings of an input with keys of [train] replaced, what solves its geometries, and its plan."""
    settings = load_input(path)
    train = settings.as_dict()["train"] | changes
    rule, options = train["sampling"], SAMPLING_RULES.options(train["sampling"], train)
    settings = replace(settings, train=replace(settings.train, sampling=rule, options=options))
    molecule = build_molecule(settings, bench.comm)
    model = build_model(settings, bench.comm, molecule)
    solver = build_training_solver(settings, model, silent(bench.comm))
    sources = TrainingSources(settings, solver, molecule, folder, may_compute=True)
    return settings, solver, choose_geometries(rule_of_input(settings, molecule), sources)


def test_a_frame_with_an_atom_nowhere_is_left_out_of_training(bench, chosen, capfd):
    _, folder, _ = chosen
    lines = bench.once(lambda: (folder / "geometries.extxyz").read_text().splitlines())
    lines[7] = " ".join([lines[7].split()[0], "nan", *lines[7].split()[2:]])
    keys = {"sampling": "structures", "structures": str(bench.write("holes.extxyz", "\n".join(lines) + "\n"))}
    whole = {"sampling": "structures", "structures": str(folder / "geometries.extxyz")}
    assert _samples(bench, "holes.toml", keys) == pytest.approx(np.delete(_samples(bench, "whole.toml", whole), 1, axis=0))
    words = [
        "train",
        str(bench.folder / "holes.toml"),
        "--samples-only",
        "--output",
        str(bench.folder / "holes"),
        "--overwrite",
    ]
    assert run_job(parse_arguments(words), bench.comm) == 0
    said = bench.comm.bcast(capfd.readouterr().out)
    assert "warning: frame 1 of" in said and "left out: atom H1 is at (nan" in said
    nothing = bench.write("nothing.extxyz", "\n".join(lines[5:10]) + "\n")
    path = bench.write("nothing.toml", with_keys(IONS, train=keys | {"structures": str(nothing)}))
    assert bench.status("train", path, "--samples-only", "--output", bench.folder / "nothing") == 1
    assert "no frame of it can be used: atom H1" in bench.comm.bcast(capfd.readouterr().err)


def test_greedy_choice_solves_the_worst_until_the_target(bench, chosen):
    path, folder, _ = chosen

    def solve(**changes):
        greedy = {"sampling": "greedy", "candidates": 7, "target": 1e-12} | changes
        settings, solver, plan = work_of(bench, path, folder, **greedy)
        store = SnapshotStore(bench.folder / "snapshots.h5", snapshot_signature(settings, solver.model), bench.comm)
        solved = solve_greedily(solver, SnapshotOrbitals(store, solver.model.grid), plan, plan.rule)
        assert store.pending == []
        return solved, store.positions_sav

    _, few_sav = solve(count=5)
    assert len(few_sav) == 5
    solved, more_sav = solve(count=6)
    assert len(more_sav) == 6 and np.array_equal(more_sav[:5], few_sav) and solved.seconds > 0
    # a target that is met: nothing is added
    solved, same_sav = solve(count=7, target=1.0)
    assert np.array_equal(same_sav, more_sav) and solved.seconds is None


def test_greedy_training_makes_a_model(bench, chosen):
    _, folder, _ = chosen
    bench.once((bench.folder / "out").mkdir)
    bench.write("out/modes.json", bench.once((folder / "modes.json").read_text))
    keys = {"sampling": "greedy", "candidates": 4, "count": 5, "validation": 0}
    path = bench.write("greedy.toml", with_keys(IONS, train=keys))
    result = bench.run("train", path, "--output", bench.folder / "out")
    assert len(result["energies"]) == 4 and result["errors"]["training"]["energy"]["lowest"] > -1e-9


def test_stale_estimates_lead_to_the_worst_candidate(bench, thermal):
    """Looking at few candidates again finds the one that estimating all of them anew finds; estimates fall."""
    path, folder, _ = thermal
    settings, solver, plan = work_of(bench, path, folder)
    positions_sav = plan.samples.positions_sav
    estimators = [CandidateEstimator(solver.model, plan.symmetries) for _ in range(2)]
    store = SnapshotStore(bench.folder / "snapshots.h5", snapshot_signature(settings, solver.model), bench.comm)
    snapshots = SnapshotOrbitals(store, solver.model.grid)

    def solve(count):
        solver.open(store, plan.samples.chosen(range(count)))
        solver.solve(store, store.pending)

    solve(3)
    estimators[0].update(snapshots)
    estimates_s = np.where(np.arange(8) < 3, 0.0, np.inf)
    first = estimators[0].worst(positions_sav, estimates_s)
    assert first == int(np.argmax(estimates_s)) and np.isfinite(estimates_s).all()
    solve(4)
    stale_s, fresh_s = estimates_s.copy(), np.where(np.arange(8) < 4, 0.0, np.inf)
    stale_s[3] = 0.0
    for estimator in estimators:
        estimator.update(snapshots)
    assert estimators[0].worst(positions_sav, stale_s) == estimators[1].worst(positions_sav, fresh_s)
    # an estimate is not exact: one may rise a little where the energy did not fall
    assert (fresh_s <= 1.1 * estimates_s).all() and fresh_s.max() < estimates_s.max()


def test_greedy_parts_are_refused(bench, chosen, capfd):
    _, folder, _ = chosen
    path = bench.write("greedy.toml", with_keys(IONS, train={"sampling": "greedy"}))
    bench.once((bench.folder / "out").mkdir)
    bench.write("out/modes.json", bench.once((folder / "modes.json").read_text))
    assert bench.status("train", path, "--part", "1/2", "--output", bench.folder / "out") == 1
    assert "Leave --part out" in bench.comm.bcast(capfd.readouterr().err, root=0)


@pytest.mark.serial
def test_one_atom_is_refused_before_anything_is_computed(bench, capfd):
    path = bench.write("he.toml", with_keys(IONS, system={"symbols": ["He"], "charge": 0, "positions": [[0.0, 0.0, 0.0]]}))
    assert bench.status("train", path, "--output", bench.folder / "out") == 1
    assert "one atom: nothing moves" in bench.comm.bcast(capfd.readouterr().err)
    assert not bench.once(lambda: list((bench.folder / "out").glob("modes*")))


def test_more_modes_than_orbitals_are_refused_before_geometries_are_solved(bench, chosen, capfd):
    """Eight geometries of one orbital, and six images of each."""
    _, folder, _ = chosen
    for rank in (49, 48):
        path, output = bench.write(f"{rank}.toml", with_keys(IONS, rom={"rank": rank})), bench.folder / str(rank)
        bench.once(output.mkdir)
        bench.once(shutil.copy, folder / "modes.json", output / "modes.json")
        assert bench.status("train", path, "--samples-only", "--output", output) == (1 if rank > 48 else 0)
        if rank > 48:
            assert "8 geometries have 48 orbitals" in bench.comm.bcast(capfd.readouterr().err)


def test_the_orientation_of_the_input_does_not_matter(rng):
    pyramid = np.array(
        [[0.0, 0.0, 0.2]] + [[1.8 * np.cos(t), 1.8 * np.sin(t), -0.5] for t in 0.1 + 2 * np.pi * np.arange(3) / 3]
    )
    molecule = Molecule(("N", "H", "H", "H"), pyramid)
    turned = molecule.with_positions(pyramid @ random_rotation(rng).T + rng.normal(size=3))
    shapes = []
    for given in (molecule, turned):
        body = oriented(given)
        assert len(grid_symmetries(body)) == 5
        shapes.append(np.sort(np.linalg.norm(body.positions_av[:, None] - body.positions_av, axis=2).ravel()))
    assert shapes[0] == pytest.approx(shapes[1], abs=1e-12)


def test_one_occupied_orbital_leaves_room_for_all_latent_directions(bench):
    """As many directions as modes but one: none of the modes may then be left out, small as its share may be."""
    keys = {"rom": {"online": "learned"}, "train": {"validation": 0}}
    path = bench.write("ions.toml", with_keys(IONS, **keys))
    errors = bench.run("train", path, "--output", bench.folder / "out")["errors"]["training"]
    assert errors["energy"]["rms"] < 1e-6 and errors["force"]["rms"] < 1e-4
