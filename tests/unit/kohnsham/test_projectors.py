"""Projectors: values, overlaps in closed form, selection rules, images, symmetry of the operator."""

import numpy as np
import pytest

from mpiqmd.grid import Grid, Orbitals
from mpiqmd.kohnsham.projectors import Projectors, SpeciesProjectors
from mpiqmd.molecule.gth import load_gth
from tests.helpers.oracles import (
    distances,
    everywhere,
    largest,
    local_part,
    on_one_rank,
    random_orbitals,
    smooth_orbitals,
    soft_ion,
    water,
)

SPACING = 9.1 / 22
SOFT = soft_ion("O", 6.0, 1.1, with_projectors=True)
CENTRE = np.array([0.21, -0.13, 0.37])


@pytest.fixture(scope="module")
def species():
    bare = SpeciesProjectors(soft_ion("H", 1.0, 1.1), SPACING)
    return {"O": SpeciesProjectors(SOFT, SPACING), "H": bare}


@pytest.fixture(params=["isolated", "periodic"])
def grid(request, comm):
    grid = Grid(comm, (8.0, 9.0, 9.1), (20, 21, 22), order=4, boundary=request.param)
    yield grid
    grid.destroy()


def one_atom(grid, species, position_v=CENTRE):
    return Projectors(grid, species, ("O",), position_v[None])


def gaussian_orbital(grid, exponent, centre_v=CENTRE):
    return Orbitals(grid, np.exp(-exponent * distances(grid, centre_v) ** 2)[None])


@pytest.mark.serial
def test_count_order_and_coupling(species):
    kind = species["O"]
    assert len(kind) == 2 + 3 + 5 and len(species["H"]) == 0
    expected = np.zeros((10, 10))
    expected[:2, :2] = [[1.3, -0.4], [-0.4, 0.7]]
    expected[2:5, 2:5] = -0.9 * np.eye(3)
    expected[5:, 5:] = 0.6 * np.eye(5)
    assert kind.coupling_pp == pytest.approx(expected)


def test_overlaps_with_a_concentric_gaussian_in_closed_form(grid, species):
    """``<exp(-a r²)|χ Y_00>`` with ``χ = r^2k exp(-r²/w²)``; every other l gives nothing."""
    exponent = 0.8
    total = exponent + 1 / 0.9**2
    exact = np.sqrt(4 * np.pi) * np.array([np.sqrt(np.pi) / 4 / total**1.5, 3 * np.sqrt(np.pi) / 8 / total**2.5])
    found = one_atom(grid, species).overlaps(gaussian_orbital(grid, exponent))
    assert found[0, :2] == pytest.approx(exact, rel=1e-8)
    assert np.abs(found[0, 2:]).max() < 1e-8


def test_overlaps_converge_to_the_closed_form(comm):
    exponent, errors = 0.8, []
    total = exponent + 1 / 0.9**2
    exact = np.sqrt(4 * np.pi) * np.sqrt(np.pi) / 4 / total**1.5
    for points in (14, 18, 28):
        grid = Grid(comm, 8.4, points, order=4, boundary="periodic")
        fine = {"O": SpeciesProjectors(SOFT, 8.4 / points)}
        found = one_atom(grid, fine).overlaps(gaussian_orbital(grid, exponent))[0, 0]
        errors.append(abs(found - exact))
        grid.destroy()
    assert errors[0] > errors[1] > errors[2]
    assert errors[0] > 1e-7 and errors[2] < 1e-10


def test_p_projectors_measure_the_gradient(grid, species):
    """``x exp(-a r²)`` overlaps only with the projector along x (order y, z, x)."""
    z, y, x = grid.local_coordinates
    block = gaussian_orbital(grid, 0.8)
    steps = [x - CENTRE[0], y - CENTRE[1], z - CENTRE[2]]
    along = Orbitals(grid, np.concatenate([block.local * step for step in steps]))
    found = one_atom(grid, species).overlaps(along)
    total = 0.8 + 1 / 0.9**2
    exact = np.sqrt(4 * np.pi / 3) * 3 * np.sqrt(np.pi) / 8 / total**2.5
    assert found[:, 2:5] == pytest.approx(exact * np.eye(3)[[2, 0, 1]], abs=1e-7)
    assert np.abs(found[:, :2]).max() < 1e-7


def test_operator_is_its_definition_and_symmetric(grid, species, rng):
    block = smooth_orbitals(grid, rng, 3)
    projectors = Projectors(grid, species, ("H", "O", "O"), np.array([[3.0, 0, 0], CENTRE, [-2.4, 1.0, 1.9]]))
    overlaps = projectors.overlaps(block)
    applied = np.zeros_like(block.local)
    projectors.add_applied(overlaps, applied)
    matrix = block.gram(Orbitals(grid, applied))
    assert np.abs(matrix).max() > 1e-3
    assert matrix == pytest.approx(projectors.matrix(overlaps), abs=1e-13)
    assert matrix == pytest.approx(matrix.T, abs=1e-13)
    projectors.add_applied(overlaps, applied)
    assert block.gram(Orbitals(grid, applied)) == pytest.approx(2 * matrix, abs=1e-13)


def test_images_complete_an_atom_on_the_boundary(comm, rng):
    grid = Grid(comm, (8.0, 9.0, 9.1), (20, 21, 22), order=4, boundary="periodic")
    kinds = {"O": SpeciesProjectors(load_gth("O", "LDA"), SPACING)}
    noise = everywhere(random_orbitals(grid, rng, 2))
    steps = np.array([9, -10, 11])
    here = one_atom(grid, kinds).overlaps(Orbitals(grid, local_part(grid, noise)))
    moved = np.roll(noise, steps[::-1], axis=(1, 2, 3))
    corner_v = CENTRE + steps * grid.spacing_v
    assert (np.abs(corner_v) > 0.4 * grid.cell_v).all()
    there = one_atom(grid, kinds, corner_v).overlaps(Orbitals(grid, local_part(grid, moved)))
    assert np.abs(here).max() > 0.01
    assert there == pytest.approx(here, abs=1e-11)
    wrapped = one_atom(grid, kinds, corner_v + grid.cell_v * [-1, 2, 0])
    assert wrapped.overlaps(Orbitals(grid, local_part(grid, moved))) == pytest.approx(here, abs=1e-11)
    grid.destroy()


def test_equals_the_serial_one(grid, serial_comm, rng):
    alone = on_one_rank(grid, serial_comm)
    kinds = {symbol: SpeciesProjectors(load_gth(symbol, "PBE"), SPACING) for symbol in ("O", "H")}
    whole = rng.normal(size=(2, *grid.shape))
    pair = [Projectors(g, kinds, ("O", "H", "H"), water()) for g in (grid, alone)]
    blocks = [Orbitals(grid, local_part(grid, whole)), Orbitals(alone, whole)]
    overlaps = [projectors.overlaps(block) for projectors, block in zip(pair, blocks, strict=True)]
    assert overlaps[0] == pytest.approx(overlaps[1], abs=1e-12)
    applied = [np.zeros_like(block.local) for block in blocks]
    for projectors, overlap, result in zip(pair, overlaps, applied, strict=True):
        projectors.add_applied(overlap, result)
    assert largest(grid.comm, applied[0] - local_part(grid, applied[1])) < 1e-11
    alone.destroy()


def test_no_projectors_at_all(grid, species, rng):
    projectors = Projectors(grid, {"H": species["H"]}, ("H", "H"), np.array([[0.0, 0, 0], [1.4, 0, 0]]))
    block = random_orbitals(grid, rng, 2)
    assert projectors.overlaps(block).shape == (2, 0)
    applied = np.zeros_like(block.local)
    projectors.add_applied(projectors.overlaps(block), applied)
    assert largest(grid.comm, applied) == 0.0
    assert projectors.gradient(block, projectors.overlaps(block)) == pytest.approx(np.zeros((2, 3)))
