"""An energy term defined in this file alone: every solver, force and check takes it up, since all of them sum over terms.

Its key is declared here too, and the input, its checks and the help follow.
"""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from mpiqmd.config import describe_keys, parse_input
from mpiqmd.errors import ConfigError
from mpiqmd.grid import Field, Grid, Orbitals
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.hifi.slepc import SlepcSolver
from mpiqmd.keys.registries import TERMS
from mpiqmd.keys.spec import KeySpec, Options
from mpiqmd.keys.values import Bounds, Number
from mpiqmd.kohnsham.terms.term import LinearTerm, energy_term
from mpiqmd.rom.grid_model import GridReducedModel
from mpiqmd.rom.grid_solver import RomSolver
from mpiqmd.rom.learned.requirements import require_grid_free
from tests.helpers.oracles import central_difference, gth_model, smooth_orbitals, water
from tests.helpers.workplace import WATER, Bench, with_keys

STRENGTH = 0.05
KEYS = {"strength": KeySpec(Number(Bounds(above=0.0, maximum=10.0)), STRENGTH, "force constant k, Ha/bohr^2")}


class Spring:
    """A harmonic well about the first nucleus, ``k/2 |r - R_0|²``: for the electrons, and with charge Z for the other ions."""

    name = "spring"

    def __init__(self, system, strength):
        self.grid, self.valences_a, self.strength = system.density_grid, system.valences_a, strength

    def at(self, positions_av):
        return PlacedSpring(self, positions_av)


class PlacedSpring(LinearTerm):
    def __init__(self, spring, positions_av):
        self.spring, self.positions_av = spring, positions_av
        z, y, x = spring.grid.local_coordinates
        self.steps = [axis - centre for axis, centre in zip((x, y, z), positions_av[0], strict=True)]
        self.potential = Field(spring.grid, 0.5 * spring.strength * sum(step**2 for step in self.steps))
        self.arms_av = positions_av - positions_av[0]

    def add_to(self, hamiltonian):
        hamiltonian.add_potential(self.potential)
        hamiltonian.add_constant(self.of_ions())

    def of_ions(self):
        return 0.5 * self.spring.strength * float(self.spring.valences_a @ (self.arms_av**2).sum(axis=1))

    def energy(self, electrons):
        return electrons.density.inner(self.potential) + self.of_ions()

    def gradient(self, electrons):
        strength = self.spring.strength
        pull_av = strength * self.spring.valences_a[:, None] * self.arms_av
        shape = self.spring.grid.local_shape
        fields = [Field(self.spring.grid, np.broadcast_to(step, shape).copy()) for step in self.steps]
        pull_av[0] -= pull_av.sum(axis=0) + strength * np.array([electrons.density.inner(field) for field in fields])
        return pull_av


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(TERMS, "_entries", dict(TERMS.entries))
    energy_term("spring", "a harmonic well about the first nucleus", keys=KEYS)(Spring)


@pytest.fixture(params=[1.0, 1.5], ids=["one grid", "finer density"])
def model(comm, request, registered):
    grid = Grid(comm, (7.0, 7.5, 8.0), (16, 17, 18), order=6, boundary="isolated")
    yield gth_model(
        grid, ("O", "H", "H"), "PBE", density_refinement=request.param, term_options={"spring": Options(strength=STRENGTH)}
    )
    grid.destroy()


POSITIONS = water() + [-0.4, 0.1, 0.05]


def test_both_solvers_and_the_finite_differences_agree(model, rng):
    problem, solver = model.place(POSITIONS), AbpgSolver(model, 1e-12)
    state = solver.solve(problem)
    assert SlepcSolver(model, 1e-11).solve(problem).free_energy == pytest.approx(state.free_energy, abs=1e-9)
    assert state.components["spring"] > 0.1
    assert sum(state.components.values()) == pytest.approx(state.free_energy, abs=1e-10)
    direction_av = rng.normal(size=(3, 3))
    direction_av /= np.linalg.norm(direction_av)

    def energy(t):
        return solver.solve(model.place(POSITIONS + t * direction_av), state.orbitals).free_energy

    along = float(np.sum(state.forces_av * direction_av))
    assert along == pytest.approx(-central_difference(energy, 0.005), abs=3e-6)


def test_it_raises_the_energy_by_what_the_variational_principle_allows(model):
    """Between its expectation in its own ground state and in that without it."""
    plain_model = gth_model(model.grid, ("O", "H", "H"), "PBE", density_refinement=1.5 if model.refinement else 1.0)
    problem = model.place(POSITIONS)
    spring = problem.terms["spring"]
    plain = AbpgSolver(plain_model, 1e-12).solve(plain_model.place(POSITIONS))
    state = AbpgSolver(model, 1e-12).solve(problem)
    rise = state.free_energy - plain.free_energy
    assert spring.energy(state.electrons) - 1e-9 < rise < spring.energy(plain.electrons) + 1e-9
    assert rise > 0.1 and spring.energy(plain.electrons) - spring.energy(state.electrons) > 1e-4


def test_the_reduced_energy_of_full_modes_is_the_full_one(model, rng):
    state = AbpgSolver(model, 1e-12).solve(model.place(POSITIONS))
    noise = smooth_orbitals(model.grid, rng, 2)
    block = Orbitals(model.grid, np.concatenate([state.orbitals.local, noise.local]))
    modes = block.combine(np.linalg.inv(np.linalg.cholesky(block.gram())).T)
    reduced = RomSolver(model, modes, tolerance=1e-10).solve(POSITIONS)
    assert reduced.free_energy == pytest.approx(state.free_energy, abs=1e-8)
    assert reduced.components["spring"] == pytest.approx(state.components["spring"], abs=1e-4)
    assert reduced.gradient_av == pytest.approx(state.gradient_av, abs=3e-4)
    placed = GridReducedModel(model, modes).place(POSITIONS)
    assert sum(placed.components(reduced.density_matrix_nn).values()) == pytest.approx(reduced.energy, abs=1e-10)


def test_the_grid_free_form_refuses_what_it_does_not_know(model):
    with pytest.raises(ConfigError, match="spring.*rom.online = 'grid'"):
        require_grid_free(model)


def parse(text):
    return parse_input(tomllib.loads(WATER + text), Path())


@pytest.mark.serial
def test_its_key_is_read_explained_and_checked(registered):
    assert parse("").terms == {} and "spring" not in parse("").as_dict()
    assert parse("[spring]").terms["spring"].strength == STRENGTH
    assert parse("[spring]\nstrength = 0.2").as_dict()["spring"] == {"strength": 0.2}
    shown = describe_keys()
    assert "[spring]  a harmonic well" in shown and "force constant k" in shown
    for written, part in [("strength = -1.0", "not above 0"), ("strenght = 1.0", "did you mean 'strength'")]:
        with pytest.raises(ConfigError, match=part):
            parse(f"[spring]\n{written}")
    with pytest.raises(ConfigError, match="a key outside any section. Move it below .spring."):
        parse_input({"strength": 1.0, **tomllib.loads(WATER)}, Path())


@pytest.mark.serial
def test_without_it_its_section_is_unknown():
    with pytest.raises(ConfigError, match="unknown section"):
        parse("[spring]")


def test_the_commands_take_it_from_the_input(comm, shared_tmp_path, registered):
    bench = Bench(comm, shared_tmp_path)
    energies = []
    for strength in (0.02, 0.05):
        path = bench.write("spring.toml", with_keys(WATER, spring={"strength": strength}))
        result = bench.run("scf", path, "--output", bench.folder / "scf", "--overwrite")
        energies.append(result["energy"])
        assert result["components"]["spring"] > 0 and result["input"]["spring"] == {"strength": strength}
    assert energies[1] > energies[0]
    plain = bench.run("scf", bench.write("plain.toml", WATER), "--output", bench.folder / "plain")
    assert "spring" not in plain["components"] and plain["energy"] < energies[0]
    checked = bench.run("check", "forces", path, "--output", bench.folder / "check")
    assert checked["largest_error"] < 1e-4  # what the coarse grid leaves without the term; the term pulls by 0.1 Ha/bohr


def test_a_run_is_not_continued_with_another_strength(comm, shared_tmp_path, registered, capfd):
    bench = Bench(comm, shared_tmp_path)
    for strength, status in ((0.02, 0), (0.03, 1)):
        path = bench.write("spring.toml", with_keys(WATER, spring={"strength": strength}))
        assert bench.status("md", path, "--steps", 2, "--output", bench.folder / "md") == status
    assert "terms" in comm.bcast(capfd.readouterr().err, root=0)
