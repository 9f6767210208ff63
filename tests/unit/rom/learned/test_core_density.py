"""Model cores that move: at points, in tables of what each does alone, and in the energy of the quadrature."""

import numpy as np
import pytest

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.core_density import SMALLEST_DENSITY, _Pairs
from mpiqmd.rom.learned.core_tables import CoreFields, CoreTable
from mpiqmd.rom.learned.data import MovingCore, XcPoints
from mpiqmd.rom.learned.packed import pad
from mpiqmd.rom.learned.xc_remainder import XcRemainder
from tests.helpers.oracles import largest, position_gradient
from tests.helpers.tiny_water import CORES, with_core

CELL = np.array([7.0, 7.2, 6.6])
BOXES = [
    ChebyshevBox(np.array([-0.2, 0.1, -0.3]), np.array([0.2, 0.3, -0.1]), (4, 4, 4)),
    ChebyshevBox(np.array([1.3, -0.2, 0.0]), np.array([1.6, -0.1, 0.0]), (4, 4, 4)),
]
POSITIONS = np.array([[0.11, 0.17, -0.22], [1.41, -0.13, 0.0]])


def gaussian(symbol, distances):
    charge, width = CORES[symbol]
    return charge * np.exp(-((distances / width) ** 2)) / (np.sqrt(np.pi) * width) ** 3


@pytest.fixture(params=["isolated", "periodic"])
def grid(request, comm):
    grid = Grid(comm, CELL, (22, 24, 20), order=6, boundary=request.param)
    yield grid
    grid.destroy()


def core_fields(grid, functional="LDA"):
    species = {symbol: with_core(symbol, functional) for symbol in ("O", "H")}
    return CoreFields(KohnShamModel(grid, Molecule(("O", "H"), POSITIONS, 1), species, Functional(functional)), BOXES)


def mean_density(grid):
    z, y, x = grid.local_coordinates
    return Field(grid, 0.4 * np.exp(-0.5 * ((x - 0.3) ** 2 + y**2 + 1.2 * z**2)))


def points(rng, count=40):
    return rng.uniform(-1.2, 2.2, size=(3, count))


def test_cores_at_points_are_gaussians_with_their_derivatives(grid, rng):
    moving, positions_vq = core_fields(grid).moving, points(rng)
    positions_vq[:, 0] = POSITIONS[0]  # at a nucleus there is no direction
    pairs = _Pairs(moving, positions_vq, np.full((4, 40), 1e-6), grid.periodic_cell_v)
    values_up, slopes_vup = (each[0] for each in pairs.place(POSITIONS[None]))
    middle_av = np.array([box.middle_v for box in BOXES])
    for a, symbol in enumerate(("O", "H")):
        mine = pairs.atoms_p == a
        seen_vp = positions_vq[:, pairs.places_p[mine]]
        now, before = (gaussian(symbol, np.linalg.norm(seen_vp.T - at_v, axis=1)) for at_v in (POSITIONS[a], middle_av[a]))
        np.testing.assert_allclose(values_up[0, mine], now - before, atol=1e-6)
    h = 1e-4
    for a, v in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)):
        step_av = np.zeros((2, 3))
        step_av[a, v] = h
        after_up, before_up = (pairs.place((POSITIONS + s * step_av)[None])[0][0] for s in (1, -1))
        expected_up = np.where(pairs.atoms_p == a, slopes_vup[v], 0.0)
        np.testing.assert_allclose((after_up - before_up) / (2 * h), expected_up, atol=1e-5)
    # along z the second does not move
    assert (slopes_vup[2][:, pairs.atoms_p == 1] == 0.0).all()
    for v in range(3):
        moved_vq = positions_vq.copy()
        moved_vq[v] += h
        after, before = (
            _Pairs(moving, at_vq, np.full((4, 40), 1e-6), grid.periodic_cell_v) for at_vq in (moved_vq, positions_vq)
        )
        assert np.array_equal(after.places_p, before.places_p)
        change_p = after.place(POSITIONS[None])[0][0][0] - values_up[0]
        np.testing.assert_allclose(change_p / h, values_up[1 + v], atol=2e-4)


@pytest.mark.serial
def test_points_see_the_images_of_a_core():
    spline = np.zeros((100, 4))
    spline[:, 0] = 1.0 - (np.arange(100) / 100.0) ** 2
    core = MovingCore(0, ChebyshevBox(np.array([3.2, 0.0, 0.0]), np.array([3.4, 0.0, 0.0]), (4, 4, 4)), 50.0, spline)
    beyond_vq = np.array([[-3.0], [0.0], [0.0]])
    assert not len(_Pairs([core], beyond_vq, np.ones((1, 1)), None).places_p)
    pairs = _Pairs([core], beyond_vq, np.ones((1, 1)), CELL)
    assert pairs.places_p.tolist() == [0]
    values_up, _ = pairs._at(np.array([[[3.25, 0.0, 0.0]]]))
    assert values_up[0, 0, 0] == pytest.approx(1.0 - (0.75 / 2) ** 2, abs=0.02)


@pytest.mark.parametrize("functional", ["LDA", "PBE"])
def test_tables_hold_what_one_core_does_alone(grid, functional):
    """Energies, potentials on functions and combinations of potentials, by the grid's own xc term."""
    fields, mean = core_fields(grid, functional), mean_density(grid)
    whole, xc = fields.whole(mean), fields.model.term(ExchangeCorrelation)
    core, nodes = fields.moving[0], BOXES[0].nodes()
    table, function = CoreTable(fields, core, whole), Orbitals(grid, np.sin(mean.local)[None])
    weights_kn = np.random.default_rng(0).normal(size=(2, len(nodes)))
    energies_n, values_nf, combined = table.tabulate(weights_kn, table.seen(function))
    before, potential = xc.evaluate(whole)
    totals = np.zeros((2, *grid.local_shape))
    middle_av = np.array([box.middle_v for box in BOXES])
    for n, node_v in enumerate(nodes):
        moved = Field(grid, mean.local + xc.core.evaluate(np.array([node_v, middle_av[1]])).local)
        energy, moved_potential = xc.evaluate(moved)
        change = Field(grid, moved_potential.local - potential.local)
        assert energies_n[n] == pytest.approx(energy - before, abs=1e-11)
        assert values_nf[n, 0] == pytest.approx(change.inner(Field(grid, function.local[0])), abs=1e-7)
        totals += weights_kn[:, n, None, None, None] * change.local
    assert largest(grid.comm, np.array([field.local for field in combined]) - totals) < 1e-10
    assert np.abs(energies_n).max() > 1e-3


@pytest.mark.serial
@pytest.mark.parametrize("functional", ["LDA", "PBE"])
def test_the_quadrature_has_exact_derivatives_even_where_there_is_no_density(functional, comm, rng):
    grid = Grid(comm, CELL, (22, 24, 20), order=6, boundary="periodic")
    fields, count, f = core_fields(grid, functional), 40, 3
    mean_q, functions_fq = rng.uniform(0.05, 0.5, size=count), 0.05 * rng.normal(size=(f, count))
    functions_fq[0, :3] = -5.0  # more than there is
    slopes = 0.1 * rng.normal(size=(3, f, count)), 0.2 * rng.normal(size=(3, count))
    slopes_vfq, mean_slope_vq = slopes if functional == "PBE" else (np.zeros((3, f, 0)), np.zeros((3, 0)))
    weights_q, positions_vq = rng.uniform(0.1, 1.0, size=count), points(rng)
    at = XcPoints(weights_q, functions_fq, slopes_vfq, mean_q, mean_slope_vq, positions_vq, np.zeros(len(functions_fq), int))
    xc = XcRemainder(at, Functional(functional), fields.moving, CELL)
    charges_f = np.array([0.5, 0.4, -0.3])

    def evaluate(positions_av, charges_f):
        energies_b, gradient_bav = np.zeros(1), np.zeros((1, 2, 3))
        response_bf = np.zeros((1, pad(charges_f).size))
        cores = xc.place(positions_av[None], energies_b, gradient_bav)
        xc.add(pad(charges_f)[None], response_bf, energies_b, cores, gradient_bav)
        return float(energies_b[0]), gradient_bav[0], response_bf[0, :f]

    _, gradient_av, response_f = evaluate(POSITIONS, charges_f)
    assert (xc._at_points.rho <= SMALLEST_DENSITY).sum() == 3
    numeric_av = position_gradient(lambda positions_av: evaluate(positions_av, charges_f)[0], POSITIONS, 1e-3)
    np.testing.assert_allclose(gradient_av, numeric_av, atol=1e-8)
    assert np.abs(gradient_av[:, :2]).min() > 1e-5 and gradient_av[1, 2] == 0.0
    for j in range(f):
        step_f = 1e-4 * np.eye(f)[j]
        slope = (evaluate(POSITIONS, charges_f + step_f)[0] - evaluate(POSITIONS, charges_f - step_f)[0]) / 2e-4
        assert response_f[j] == pytest.approx(slope, abs=1e-7)
    grid.destroy()
