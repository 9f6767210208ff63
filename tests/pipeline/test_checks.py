"""What the commands say of cells too small and grids too coarse, and molecules that lie anywhere in their files."""

import numpy as np
import pytest

from mpiqmd.cli import parse_arguments
from mpiqmd.pipeline.job import run_job
from mpiqmd.pipeline.results import read_result
from tests.helpers.workplace import H2, with_keys

HYDROGEN = with_keys(
    H2,
    grid={"cell": 12.0, "points": 30, "density": "finer", "order": 8},
    scf={"energy_tolerance": 1e-09},
    md={"steps": 2, "timestep": 10.0, "temperature": "50 K"},
)
SILANE = """
[system]
symbols = ["Si", "H", "H", "H", "H"]
positions = [[0, 0, 0], [1.62, 1.62, 1.62], [1.62, -1.62, -1.62], [-1.62, 1.62, -1.62], [-1.62, -1.62, 1.62]]
[grid]
cell = 6.0
points = 18
density = "finer"
"""
FLUORINE = """
[system]
symbols = ["F", "F"]
positions = [[0.0, 0.0, -1.335], [0.0, 0.0, 1.335]]
[grid]
cell = [9.0, 9.0, 12.0]
spacing = 0.36
density = "finer"
"""


@pytest.fixture
def say(bench, capfd):
    """Run a command line and return its result and the warnings it printed."""

    def run(text, *words):
        path = bench.write("input.toml", text)
        arguments = [words[0], path, *words[1:], "--output", bench.folder / words[0], "--overwrite"]
        capfd.readouterr()
        assert run_job(parse_arguments(list(map(str, arguments))), bench.comm) == 0
        lines = bench.comm.bcast(capfd.readouterr().out, root=0).splitlines()
        return read_result(bench.folder / words[0] / "result.json"), [line for line in lines if "warning: " in line]

    return run


def test_a_good_cell_is_passed_in_silence(say):
    result, warnings = say(HYDROGEN, "scf")
    assert warnings == result["checks"]["warnings"] == [] and result["verdict"]["good"] is True
    checks = result["checks"]
    assert checks["bound"] and checks["highest_occupied"] < -0.3
    assert checks["wall_distance"] == pytest.approx(5.28) and 0 < checks["wall_energy_error"] < 9e-4
    assert checks["sufficient_cell"] == [12.0] * 3 and checks["spacing"] < checks["needed_spacings"]["H"]


def test_unbound_electrons_and_walls_are_told_of_where_symmetry_hides_the_force(say):
    result, warnings = say(SILANE, "scf")
    assert np.abs(result["net_force"]).max() < 1e-6
    unbound, walls, closing = warnings
    assert "NOT good enough for energies and forces" in closing and result["verdict"]["good"] is False
    assert "above zero" in unbound and "walls of the cell" in unbound and "grid.cell = [" in unbound
    assert "the cell is too small" in walls and "atom H2 1.38 bohr" in walls
    checks = result["checks"]
    assert not checks["bound"] and checks["wall_energy_error"] > 0.1
    assert min(checks["sufficient_cell"]) > 12.0 and max(checks["sufficient_cell"]) < 30.0


def test_walls_as_the_cause_of_a_net_force(say):
    """A molecule beside the middle of a cell that it fills: the walls, not the spacing, are named."""
    shifted = [[-0.42, 0.0, 0.0], [1.02, 0.0, 0.0]]
    text = with_keys(HYDROGEN, system={"positions": shifted}, grid={"cell": 6.0, "points": 20})
    _, warnings = say(text, "scf")
    assert any("the walls of the cell push with" in line for line in warnings)
    assert not any("too coarse" in line for line in warnings)


def test_a_grid_too_coarse_for_fluorine_is_told_of_where_symmetry_hides_the_force(say):
    result, warnings = say(FLUORINE, "scf")
    assert np.abs(result["net_force"]).max() < 1e-6
    assert any("too coarse for its elements" in line and "F needs 0.2" in line for line in warnings)
    assert result["checks"]["needed_spacings"]["F"] < 0.25


@pytest.mark.parametrize("command", ["md", "relax", "frequencies", "train"])
def test_each_command_says_it_once(say, command):
    text = with_keys(HYDROGEN, grid={"cell": 7.0, "points": 20})
    text = with_keys(text, train={"sampling": "normal-modes", "count": 3, "validation": 1}, rom={"rank": 3, "online": "grid"})
    text = with_keys(text, relax={"max_steps": 60}, frequencies={"max_force": 0.1})
    result, warnings = say(text, command)
    assert sum("the cell is too small" in line for line in warnings) == 1
    if command == "train":
        assert any("the cell is too small" in line for line in result["warnings"])


def test_a_molecule_anywhere_in_its_file(say, bench):
    """Far from the origin: the same energy and forces, its own coordinates in all that is written."""
    here, _ = say(HYDROGEN, "scf")
    offset_v = np.array([137.0, -20.5, 6.0])
    positions_av = (np.array(here["positions"]) + offset_v).tolist()
    there, _ = say(with_keys(HYDROGEN, system={"positions": positions_av}), "scf", "--density")
    assert there["energy"] == pytest.approx(here["energy"], abs=1e-9)
    assert np.array(there["forces"]) == pytest.approx(np.array(here["forces"]), abs=1e-7)
    assert there["positions"] == pytest.approx(np.array(positions_av))
    assert there["moved_by"] == pytest.approx(-offset_v) and here["moved_by"] == [0.0] * 3
    lines = bench.once(lambda: (bench.folder / "scf" / "density.cube").read_text().splitlines())
    corner_v = np.array(lines[2].split()[1:], float)
    assert corner_v == pytest.approx(offset_v - 6.0 + 12.0 / 46, abs=1e-6)


def test_dynamics_keep_the_users_coordinates(say):
    positions_av = [[19.28, 0.0, 0.0], [20.72, 0.0, 0.0]]
    here, _ = say(HYDROGEN, "md")
    there, _ = say(with_keys(HYDROGEN, system={"positions": positions_av}), "md")
    assert there["temperature_mean"] == pytest.approx(here["temperature_mean"], rel=1e-6)


def test_a_charged_molecule_has_its_dipole_about_the_users_origin(bench):
    text = with_keys(HYDROGEN, system={"symbols": ["He", "H"], "charge": 1})
    for name, x in (("near", 0.0), ("far", 50.0)):
        frames = f"2\n\nHe {x - 0.4} 0 0\nH {x + 0.4} 0 0\n"
        bench.write(f"{name}.xyz", frames)
    path = bench.write("charged.toml", text)
    dipoles = [
        bench.run("evaluate", path, "--structures", bench.folder / f"{name}.xyz", "--output", bench.folder / name)["extras"]
        for name in ("near", "far")
    ]
    moved = dipoles[1]["dipole_x"][0] - dipoles[0]["dipole_x"][0]
    assert moved == pytest.approx(50.0 / 0.529177210903, abs=1e-5)


def test_a_molecule_spread_over_images_in_its_own_frame(say):
    text = with_keys(HYDROGEN, grid={"boundary": "periodic"}, scf={"frame": "body"})
    whole, _ = say(text, "scf")
    spread, _ = say(with_keys(text, system={"positions": [[-0.72, 0.0, 0.0], [0.72 + 36.0, -12.0, 24.0]]}), "scf")
    assert spread["energy"] == pytest.approx(whole["energy"], abs=1e-8)


def test_rotation_is_not_taken_out_where_nothing_turns_freely(bench, capfd):
    path = bench.write("periodic.toml", with_keys(HYDROGEN, grid={"boundary": "periodic"}, md={"remove_rotation": True}))
    assert bench.status("md", path, "--output", bench.folder / "md") == 1
    assert "images keep a molecule from turning" in bench.comm.bcast(capfd.readouterr().err, root=0)


def test_vibrations_against_the_images(say):
    """Periodic: all but the three translations; H2 has its stretch and two hindered turns."""
    isolated, _ = say(HYDROGEN, "frequencies")
    periodic, _ = say(with_keys(HYDROGEN, grid={"boundary": "periodic"}), "frequencies")
    assert len(isolated["frequencies"]) == 1 and len(periodic["frequencies"]) == 3
    assert max(periodic["frequencies"]) == pytest.approx(isolated["frequencies"][0], rel=0.02)


def test_more_orbitals_than_a_grid_can_tell_apart(bench, capfd):
    places = np.array(np.meshgrid(*[np.linspace(-4, 4, 9)] * 3)).reshape(3, -1).T.tolist()
    text = with_keys(HYDROGEN, system={"symbols": ["He"] * len(places), "positions": places}, grid={"points": 14})
    assert bench.status("scf", bench.write("many.toml", text), "--output", bench.folder / "many") == 1
    assert "729 atoms bring 729 occupied orbitals" in bench.comm.bcast(capfd.readouterr().err, root=0)
