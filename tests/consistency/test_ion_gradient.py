"""``∂A/∂R`` at fixed electrons: each term against central differences of its energy, then the sum.

Along random directions of all nuclei at once, which see every component at a fraction of the evaluations.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from mpiqmd.grid import Grid
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.term import DensityTerm
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.psp8 import read_psp8
from tests.helpers.oracles import central_difference, gth_model, position_gradient, smooth_orbitals, soft_ion, water

DENSITY_MATRIX = np.array([[0.9, 0.1, -0.05], [0.1, 0.7, 0.2], [-0.05, 0.2, 0.4]])
CELL = np.array([8.0, 8.5, 9.0])
STEP = 5e-4
"""A tenth of the radial splines' mesh: their third derivative jumps at the knots."""
SHARED = Path(os.environ.get("MPIQMD_SHARED", Path(__file__).parents[3] / "shared"))


@pytest.fixture(params=["isolated", "periodic"])
def grid(request, comm):
    grid = Grid(comm, CELL, (14, 15, 16), order=4, boundary=request.param)
    yield grid
    grid.destroy()


def psp8_model(grid):
    files = {"O": SHARED / "pseudos/O_sg15.psp8", "H": SHARED / "pseudos/H_sg15.psp8"}
    if not all(path.exists() for path in files.values()):
        pytest.skip("the SG15 files are not here")
    pseudopotentials = {symbol: read_psp8(path) for symbol, path in files.items()}
    return KohnShamModel(grid, Molecule(("O", "H", "H"), water()), pseudopotentials, Functional("PBE"))


def soft_model(grid):
    """Several projectors of s, p and d on oxygen, none on hydrogen."""
    ions = {"O": soft_ion("O", 6.0, 0.9, with_projectors=True), "H": soft_ion("H", 1.0, 0.9)}
    return KohnShamModel(grid, Molecule(("O", "H", "H"), water()), ions, Functional("LDA"))


MODELS = {
    "GTH water": lambda grid: gth_model(grid, ("O", "H", "H")),
    "GTH water, doubled density": lambda grid: gth_model(grid, ("O", "H", "H"), density_refinement=2.0),
    "GTH silane-like": lambda grid: gth_model(grid, ("Si", "H", "Cl"), "PBE"),
    "SG15 water": psp8_model,
    "soft ions": soft_model,
}
"""Silicon and chlorine bring two s and one p projectors with off-diagonal coupling."""

PLACES = {
    "inside": water() + [0.31, -0.17, 0.42],
    "boundary": water() + CELL / 2 - [0.3, 0.9, 0.1],
}


def energy_of(term, electrons):
    return term.evaluate(electrons.density)[0] if isinstance(term, DensityTerm) else term.energy(electrons)


CASES = [(name, "inside") for name in MODELS] + [("GTH water", "boundary"), ("soft ions", "boundary")]


@pytest.mark.parametrize("name, place", CASES)
def test_gradient_of_each_term(grid, rng, name, place):
    if place == "boundary" and not grid.is_periodic:
        pytest.skip("atoms are kept away from the walls of an isolated cell")
    model, positions_av = MODELS[name](grid), PLACES[place]
    if place == "boundary":
        assert np.ptp(np.floor(positions_av / CELL + 0.5), axis=0).max() == 1
    electrons = Electrons(model.space(smooth_orbitals(grid, rng, 3)), DENSITY_MATRIX)

    def energies(moved_av):
        return np.array([energy_of(term, electrons) for term in model.place(moved_av).terms.values()])

    problem = model.place(positions_av)
    analytic = {name: term.gradient(electrons) + np.zeros_like(positions_av) for name, term in problem.terms.items()}
    still = {"kinetic", "hartree", "xc"}
    for noise_av in rng.normal(size=(2, *positions_av.shape)):
        direction_av = noise_av / np.linalg.norm(noise_av)
        slopes = central_difference(lambda t, d=direction_av: energies(positions_av + t * d), STEP)
        for (term, gradient_av), slope in zip(analytic.items(), slopes, strict=True):
            along = np.sum(gradient_av * direction_av)
            assert abs(along) > 1e-4 or term in still, term
            assert along == pytest.approx(slope, abs=2e-8), term
        assert np.sum(problem.gradient(electrons) * direction_av) == pytest.approx(slopes.sum(), abs=4e-8)


def test_an_atom_on_a_grid_point(grid, rng):
    """r = 0 is sampled: the formulas with 1/r must not fail there."""
    model = gth_model(grid, ("O", "H", "H"))
    positions_av = water()
    positions_av[0] = [grid.coordinates(2)[7], grid.coordinates(1)[7], grid.coordinates(0)[8]]
    positions_av[1:] += positions_av[0]
    orbitals = smooth_orbitals(grid, rng, 3)
    electrons = Electrons(model.space(orbitals), DENSITY_MATRIX)

    def energy(moved_av):
        return model.place(moved_av).terms["local"].energy(electrons)

    analytic = model.place(positions_av).terms["local"].gradient(electrons)[0]
    numerical = position_gradient(lambda moved: energy(np.vstack([moved, positions_av[1:]])), positions_av[:1], STEP)
    assert analytic == pytest.approx(numerical[0], abs=1e-8)


def test_equals_the_serial_gradient(comm, serial_comm, rng):
    state, gradients = rng.bit_generator.state, []
    for ranks in (comm, serial_comm):
        rng.bit_generator.state = state
        grid = Grid(ranks, CELL, (14, 15, 16), order=4, boundary="periodic")
        orbitals = smooth_orbitals(grid, rng, 3)
        problem = gth_model(grid, ("O", "H", "H")).place(PLACES["boundary"])
        gradients.append(problem.gradient(Electrons(problem.model.space(orbitals), DENSITY_MATRIX)))
        grid.destroy()
    assert gradients[0] == pytest.approx(gradients[1], abs=1e-11)
