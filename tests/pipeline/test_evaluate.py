"""``mpiqmd scf``, ``evaluate`` and ``check``: both solvers on the same geometries."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from ase.io.cube import read_cube

from mpiqmd.cli import parse_arguments
from mpiqmd.config import load_input
from mpiqmd.pipeline.check import in_laboratory
from mpiqmd.pipeline.job import run_job
from mpiqmd.statics.egg_box import common_period, egg_box_verdict
from mpiqmd.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV
from tests.helpers.workplace import H2, WATER, with_keys

HYDROGEN = with_keys(
    H2,
    system={"positions": [[-0.63, 0.2, 0.1], [0.69, -0.1, 0.05]]},
    grid={"points": 16},
    scf={"energy_tolerance": 1e-12},
)
TURNED = [[0.1, -0.2, 0.15], [1.0, 0.6, -1.1], [-0.4, 0.9, 1.45]]
"""Water far from its body frame."""
COMPONENTS = ("kinetic", "local", "nonlocal", "hartree", "xc", "ion_ion", "entropy")


@pytest.fixture
def evaluate(bench, trained, geometries):
    """Return a function that evaluates the three geometries and returns the result."""

    def run(name, *options, **sections):
        path = bench.write(f"{name}.toml", with_keys(WATER, **sections))
        return bench.run("evaluate", path, "--structures", geometries[0], "--output", bench.folder / name, *options)

    return run


def test_scf_result(bench, trained):
    result = bench.run("scf", trained.input, "--density", "--output", bench.folder / "scf")
    assert tuple(sorted(result["components"])) == tuple(sorted(COMPONENTS))
    assert result["free_energy"] == pytest.approx(sum(result["components"].values()), abs=1e-10)
    assert result["converged"] and result["iterations"] > 3 and result["residual"] < 1e-7
    assert result["occupations"] == pytest.approx([1.0] * 4, abs=1e-12) and len(result["eigenvalues"]) == 4
    assert {"setup", "solve", "forces"} <= result["timing"].keys()
    assert result["ranks"] == bench.comm.size and {"petsc", "slepc", "mpi"} <= result["versions"].keys()
    assert np.abs(np.sum(result["forces"], axis=0)).max() < 1e-12
    header = bench.once(lambda: (bench.folder / "scf" / "density.cube").read_text().splitlines()[:6])
    assert len(header) == 6


def test_scf_in_the_body_frame_is_what_evaluate_gives_there(bench, trained, evaluate):
    """Energy and forces; and the cube has the electrons where the molecule lies in the laboratory."""
    dipoles = {}
    for frame in ("lab", "body"):
        path = bench.write(f"{frame}.toml", with_keys(WATER, system={"positions": TURNED}, scf={"frame": frame}))
        result = bench.run("scf", path, "--density", "--output", bench.folder / frame)
        dipoles[frame] = bench.once(electronic_dipole, bench.folder / frame / "density.cube")
    atoms = Atoms("OHH", np.array(TURNED) * BOHR_IN_ANGSTROM)
    bench.once(lambda: write(bench.folder / "here.extxyz", atoms, parallel=False))
    words = ("--structures", bench.folder / "here.extxyz", "--body-frame", "--output", bench.folder / "evaluated")
    expected = bench.run("evaluate", path, *words)
    assert result["free_energy"] == pytest.approx(expected["energies"][0], abs=1e-9)
    assert np.array(result["forces"]) == pytest.approx(np.array(expected["forces"][0]), abs=1e-6)
    assert dipoles["body"] == pytest.approx(dipoles["lab"], abs=0.2) and np.abs(dipoles["lab"]).max() > 1.0


def electronic_dipole(path):
    """Return the sum of density times position over the voxels of a cube file, atomic units."""
    with open(path) as stream:
        cube = read_cube(stream)
    steps_vv, density = cube["spacing"] / BOHR_IN_ANGSTROM, cube["data"]
    places = np.stack(np.meshgrid(*map(np.arange, density.shape), indexing="ij"), axis=-1)
    positions = places @ steps_vv + cube["origin"] / BOHR_IN_ANGSTROM
    return np.einsum("xyz,xyzv->v", density, positions) * abs(np.linalg.det(steps_vv))


def test_reduced_energies_lie_above_the_full_ones_in_the_body_frame(evaluate, trained):
    full = evaluate("full", "--body-frame", scf={"energy_tolerance": 1e-10})
    grid = evaluate("grid", "--model", trained.model, rom={"online": "grid"})
    excess = np.array(grid["energies"]) - full["energies"]
    assert (excess > -1e-9).all() and excess.max() < 5e-3
    assert np.abs(np.array(grid["forces"]) - full["forces"]).max() < 5e-2
    for result in (full, grid):
        forces = np.array(result["forces"])
        torques = np.cross(result["positions"], forces).sum(axis=1)
        assert np.abs(forces.sum(axis=1)).max() < 1e-10 and np.abs(torques).max() < 1e-9
        assert result["forces_as"] == "gradient" and result["body_frame"]
    estimates = np.array(grid["extras"]["error_estimate"])
    assert (np.abs(np.log2(estimates / excess)) < 1.0).all()
    pulls = np.array(grid["per_atom"]["force_error"])
    assert np.array_equal(pulls.max(axis=1), grid["extras"]["force_error_estimate"])
    wrong = np.linalg.norm(np.array(grid["forces"]) - full["forces"], axis=2)
    assert 0.6 < np.sqrt((pulls**2).sum() / (wrong**2).sum()) < 1.6
    learned = evaluate("learned", "--model", trained.model)
    assert np.abs(np.array(learned["energies"]) - grid["energies"]).max() < 1e-5
    assert np.abs(np.array(learned["forces"]) - grid["forces"]).max() < 1e-4


def test_published_forces_differ_from_the_gradient_and_do_not_balance(evaluate, trained):
    forces = {
        name: np.array(
            evaluate(name, "--model", trained.model, rom={"online": "grid", "forces": name, "on_large_error": "warn"})["forces"]
        )
        for name in ("gradient", "hellmann-feynman")
    }
    assert np.abs(forces["gradient"].sum(axis=1)).max() < 1e-10
    assert np.abs(forces["hellmann-feynman"].sum(axis=1)).max() > 1e-4


def test_structures_come_back_with_energies_and_forces_as_ase_reads_them(bench, evaluate, trained, geometries):
    result = evaluate("ase", "--model", trained.model)

    def check() -> None:
        from ase.io import read

        frames = read(bench.folder / "ase" / "evaluated.extxyz", index=":", parallel=False)
        for frame, energy, forces_av, positions_av in zip(
            frames, result["energies"], result["forces"], geometries[1], strict=True
        ):
            assert frame.get_potential_energy() == pytest.approx(energy * HARTREE_IN_EV, abs=1e-6)
            expected = np.array(forces_av) * HARTREE_IN_EV / BOHR_IN_ANGSTROM
            assert np.abs(frame.get_forces() - expected).max() < 1e-6
            assert np.abs(frame.get_positions() / BOHR_IN_ANGSTROM - positions_av).max() < 1e-6
        for index, frame in enumerate(frames):
            estimate = result["extras"]["error_estimate"][index] * HARTREE_IN_EV
            assert frame.info["error_estimate"] == pytest.approx(estimate, rel=1e-4)
            errors_a = np.array(result["per_atom"]["force_error"][index]) * HARTREE_IN_EV / BOHR_IN_ANGSTROM
            assert frame.arrays["force_error"] == pytest.approx(errors_a, abs=1e-7)

    bench.once(check)


def test_full_forces_are_energy_differences(bench):
    path = bench.write("hydrogen.toml", HYDROGEN)
    result = bench.run("check", "forces", path, "--output", bench.folder / "forces")
    assert np.abs(result["forces"]).max() > 1e-2
    assert result["largest_error"] < 1e-6


@pytest.mark.parametrize("online", ["grid", "learned"])
def test_reduced_forces_are_energy_differences(bench, trained, online):
    path = bench.write("input.toml", with_keys(WATER, rom={"online": online}))
    result = bench.run("check", "forces", path, "--model", trained.model, "--output", bench.folder / "forces")
    assert np.abs(result["forces"]).max() > 1e-2
    assert result["largest_error"] < 1e-6


@pytest.mark.parametrize("online", ["grid", "learned"])
def test_the_reduced_surface_does_not_see_rigid_motions(bench, trained, online):
    path = bench.write("input.toml", with_keys(WATER, rom={"online": online}))
    result = bench.run("check", "frame", path, "--model", trained.model, "--output", bench.folder / "frame")
    assert max(result["energy_changes"]) < 1e-11
    assert max(result["force_changes"]) < 1e-8


def test_the_full_surface_does_see_the_grid(bench, trained):
    result = bench.run("check", "frame", trained.input, "--output", bench.folder / "frame")
    assert max(result["energy_changes"]) > 1e-6


def test_egg_box_is_measured_and_drawn(bench):
    path = bench.write("hydrogen.toml", HYDROGEN)
    result = bench.run("check", "egg-box", path, "--output", bench.folder / "egg-box")
    along = np.array(result["x"]["energies"])
    assert len(along) == 13 and result["x"]["ripple"] == pytest.approx(np.ptp(along)) and np.ptp(along) > 1e-6
    assert result["fractions"][6] == 0.0 and result["fractions"][0] == -result["fractions"][-1] == -0.5 * result["period"]
    given = result["diagonal"]["energies"][6], result["rotation"]["energies"][0]
    assert given == pytest.approx((along[6], along[6]), abs=1e-8)
    assert len(result["rotation"]["energies"]) == 7 == len(result["rotation"]["angles"])
    nets = result["diagonal"]["net_forces"]
    assert len(nets) == 13 and result["diagonal"]["net_force"] == max(nets) > 1e-6
    ends = [abs(result[name]["energies"][-1] - result[name]["energies"][0]) for name in ("x", "diagonal")]
    assert result["walls"] == pytest.approx(max(ends))
    assert (bench.folder / "egg-box" / "egg-box.png").is_file()
    assert result["ripple"] == max(result[name]["ripple"] for name in ("x", "diagonal", "rotation"))
    assert result["verdict"] in ("fair", "coarse") and "grid.spacing = 0.35" in result["advice"]


@pytest.mark.serial
@pytest.mark.parametrize(
    ("ripple", "net", "density", "verdict", "words"),
    [
        (5e-5, 2e-4, "same", "fine", "training"),
        (5e-5, 8e-4, "finer", "fair", "scf.frame"),
        (6e-4, 2e-4, "finer", "fair", "grid.spacing = 0.24"),
        (7e-3, 2e-4, "same", "coarse", "grid.density"),
        (5e-5, 2e-2, "finer", "coarse", "0.24 and check again"),
    ],
)
def test_egg_box_says_what_the_grid_is_good_for(ripple, net, density, verdict, words):
    """The worst motion decides; the next grid is a fifth finer."""
    quiet = {"energies": [], "ripple": 1e-6, "net_force": 1e-6}
    found = {"fractions": [], "spacing": [0.3, 0.29, 0.3], "x": quiet | {"ripple": ripple}, "diagonal": quiet}
    result = egg_box_verdict(found | {"rotation": quiet | {"net_force": net}}, density)
    assert result["verdict"] == verdict and words in result["advice"]
    assert (result["ripple"], result["net_force"]) == (ripple, net)
    assert f"ripple {1e3 * ripple:.3g} mHa" in result["advice"]


@pytest.mark.parametrize(
    ("points", "density_points", "period"),
    [
        ((28, 28, 28), (28, 28, 28), 1),
        ((28, 28, 28), (42, 42, 42), 2),
        ((28, 28, 28), (56, 56, 56), 1),
        ((27, 27, 27), (42, 42, 42), 2),
    ],
)
def test_grids_of_orbitals_and_density_repeat_together(points, density_points, period):
    """1.5 times as many points lie on the others at every second spacing only."""
    assert common_period(np.array(points), np.array(density_points)) == period


def test_egg_box_is_seen_from_the_laboratory(bench):
    """In the molecule's own frame nothing would change."""
    path = bench.write("body.toml", with_keys(WATER, system={"positions": TURNED}, scf={"frame": "body"}))
    assert bench.run("check", "egg-box", path, "--output", bench.folder / "egg-box")["rotation"]["ripple"] > 1e-4


@pytest.mark.serial
@pytest.mark.parametrize(
    ("keys", "cell", "points"),
    [
        ({"scf": {"frame": "body"}}, (6.4, 6.4, 6.4), (16, 16, 16)),
        ({"scf": {"frame": "lab"}}, (6.4, 4.8, 5.6), (16, 12, 14)),
        ({"scf": {"frame": "body"}, "grid": {"boundary": "periodic"}}, (6.4, 4.8, 5.6), (16, 12, 14)),
    ],
)
def test_a_cell_for_the_molecules_own_frame_becomes_a_cube_for_the_laboratory(bench, keys, cell, points):
    """Where it is turned towards the walls of the shorter edges."""
    edges = {"cell": [6.4, 4.8, 5.6], "points": [16, 12, 14]}
    path = bench.write("flat.toml", with_keys(WATER, **(keys | {"grid": edges | keys.get("grid", {})})))
    settings = in_laboratory(load_input(path))
    assert (settings.grid.cell, settings.grid.points, settings.scf.frame) == (cell, points, "lab")


def test_a_coarse_grid_is_told_of(bench, capfd):
    words = ("scf", bench.write("coarse.toml", WATER), "--output", bench.folder / "coarse")
    assert run_job(parse_arguments(list(map(str, words))), bench.comm) == 0
    told = bench.comm.bcast(capfd.readouterr().out, root=0)
    assert "warning: there is a net force of" in told and "0.350 bohr between points is too coarse" in told
