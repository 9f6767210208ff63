"""Whole translations of single atoms of a periodic cell change nothing, however many, and near images are near."""

import numpy as np
import pytest

from mpiqmd.errors import GeometryError
from mpiqmd.grid import Grid
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.hifi.body_solver import HifiBodySolver
from mpiqmd.hifi.extrapolation import OrbitalExtrapolation
from mpiqmd.kohnsham.terms.term import LinearTerm
from mpiqmd.molecule.body_surface import BodySurface
from mpiqmd.molecule.laboratory import LaboratoryFrame
from mpiqmd.molecule.surface import Owner
from tests.helpers.oracles import gth_model, water

EDGES = np.array([7.0, 7.6, 8.2])


def surface_of(model, tolerance):
    """The Hi-Fi surface in the laboratory, every geometry from atoms."""
    frame = LaboratoryFrame(model.grid.comm, model.molecule, net_force="keep")
    return Owner(BodySurface(frame, HifiBodySolver(model, AbpgSolver(model, tolerance))))


@pytest.fixture
def model(comm):
    grid = Grid(comm, EDGES, [18, 20, 20], order=8, boundary="periodic")
    return gth_model(grid, ("O", "H", "H"), density_refinement=1.5)


@pytest.mark.parametrize("atom", [0, 2])
def test_an_atom_any_number_of_edges_away(model, atom):
    surface = surface_of(model, 1e-11)
    reference = surface.at(water())
    for edges in (1, -3, 5, 40, 10**4, 10**6):
        moved_av = water()
        moved_av[atom] += edges * EDGES * [1, -1, 1]
        found = surface.at(moved_av)
        # a coordinate of so many edges is known to so many digits
        resolution = 1e-9 + 1e-15 * abs(edges) * EDGES.max()
        assert found.energy == pytest.approx(reference.energy, abs=resolution)
        assert found.forces_av == pytest.approx(reference.forces_av, abs=1e-5 + 10 * resolution)


def test_every_term_of_the_problem(model):
    """The terms themselves, without a solver between: to round-off."""
    moved_av = water()
    moved_av[1] += 17 * EDGES * [0, 1, -1]
    here, there = model.place(water()), model.place(moved_av)
    electrons = AbpgSolver(model, 1e-11).solve(here).electrons
    for name in [name for name, term in here.terms.items() if isinstance(term, LinearTerm)]:
        terms = [problem.terms[name] for problem in (here, there)]
        energies = [term.energy(electrons) for term in terms]
        assert energies[1] == pytest.approx(energies[0], abs=1e-10), name
        gradients = [term.gradient(electrons) for term in terms]
        assert gradients[1] == pytest.approx(gradients[0], abs=1e-9), name


def test_helium_one_edge_after_the_other(comm):
    """-5.859076 Ha and no force, whichever image of the second atom is given."""
    model = gth_model(Grid(comm, 8.0, 24, order=8, boundary="periodic"), ("He", "He"))
    surface = surface_of(model, 1e-9)
    for edges in (0, 4, 10, 100):
        found = surface.at(np.array([[-2.0, 0, 0], [2.0 + 8.0 * edges, 0, 0]]))
        assert found.energy == pytest.approx(-5.859076, abs=2e-6)
        assert np.abs(found.forces_av).max() < 1e-5


def test_a_near_image_is_refused(comm):
    model = gth_model(Grid(comm, 8.0, 16, order=8, boundary="periodic"), ("H", "H"))
    with pytest.raises(GeometryError, match="0.1 bohr apart .nearest images"):
        model.place(np.array([[3.95, 0, 0], [-3.95, 0, 0]]))


def test_extrapolation_does_not_see_images(model):
    """Orbitals of a path whose atoms are wrapped into the cell are extrapolated as those of the path itself."""
    grid, solver = model.grid, AbpgSolver(model, 1e-11)
    path = [water(1.80 + 0.02 * k) for k in range(4)]
    states = [solver.solve(model.place(positions_av)) for positions_av in path[:3]]
    predictions = []
    for shift in (0.0, 1.0):
        rule = OrbitalExtrapolation(grid, "geometry")
        for k, (positions_av, state) in enumerate(zip(path[:3], states, strict=True)):
            rule.add(positions_av + shift * (k % 2) * EDGES * [[0, 0, 0], [1, 0, 0], [0, -2, 0]], state.orbitals)
        predictions.append(rule.predict(path[3]))
    difference = np.abs(predictions[0].local - predictions[1].local).max(initial=0.0)
    assert max(grid.comm.allgather(difference)) < 1e-9
