"""Local potential of the ions: exact for Gaussian ions, the G = 0 term, whole-spacing shifts, independence of the split."""

import numpy as np
import pytest

from mpiqmd.grid import Field, Grid
from mpiqmd.grid.poisson import Poisson
from mpiqmd.kohnsham.terms import local_potential as local_module
from mpiqmd.kohnsham.terms.local_potential import LocalPotential
from mpiqmd.molecule.gth import load_gth
from tests.helpers.oracles import (
    distances,
    everywhere,
    gaussian_charge,
    gaussian_potential,
    largest,
    local_part,
    on_one_rank,
    soft_ion,
    water,
)

WIDTH = 1.1
SOFT = {"O": soft_ion("O", 6.0, WIDTH), "H": soft_ion("H", 1.0, WIDTH)}
SYMBOLS = ("O", "H", "H")
POSITIONS = water() + [0.21, -0.13, 0.37]


def local_potential(grid, species=SOFT, symbols=SYMBOLS):
    return LocalPotential(grid, species, symbols, Poisson(grid))


@pytest.fixture(params=["isolated", "periodic"])
def grid(request, comm):
    grid = Grid(comm, (8.0, 9.0, 9.1), (20, 21, 22), order=4, boundary=request.param)
    yield grid
    grid.destroy()


def test_gaussian_ions_in_free_space(comm):
    grid = Grid(comm, (8.0, 9.0, 9.1), (20, 21, 22), order=4, boundary="isolated")
    found = local_potential(grid).evaluate(POSITIONS)
    exact = sum(
        -SOFT[symbol].valence * gaussian_potential(distances(grid, position_v), WIDTH)
        for symbol, position_v in zip(SYMBOLS, POSITIONS, strict=True)
    )
    assert largest(comm, exact) > 5
    assert largest(comm, found.local - exact) < 1e-7
    grid.destroy()


def test_gaussian_ions_in_a_periodic_cell_are_poissons_solution_and_the_g0_term(comm):
    grid = Grid(comm, (8.0, 9.0, 9.1), (40, 42, 44), order=4, boundary="periodic")
    found = local_potential(grid).evaluate(POSITIONS)
    charge = Field(grid)
    for symbol, position_v in zip(SYMBOLS, POSITIONS, strict=True):
        for image in np.ndindex(3, 3, 3):
            centre_v = position_v + (np.array(image) - 1) * grid.cell_v
            charge.local += SOFT[symbol].valence * gaussian_charge(distances(grid, centre_v), WIDTH)
    constant = np.pi * WIDTH**2 * 8 / grid.volume
    exact = constant - Poisson(grid).solve(charge).local
    assert largest(comm, exact) > 2
    assert largest(comm, found.local - exact) < 1e-7
    grid.destroy()


def test_g0_term_of_water_is_that_of_plane_wave_codes(comm):
    """``N_e ∫V / Ω`` per volume in the 12 bohr cell: 0.000290648876635622 Ha is ABINIT's "PspCore" for GTH-PADE water."""
    grid = Grid(comm, 12.0, 40, order=4, boundary="periodic")
    species = {symbol: load_gth(symbol, "LDA") for symbol in ("O", "H")}
    average = local_potential(grid, species).evaluate(water()).integrate() / grid.volume
    assert 8 * average == pytest.approx(0.000290648876635622, abs=1e-8)
    grid.destroy()


def test_bare_coulomb_far_from_a_gth_ion(comm):
    grid = Grid(comm, 9.0, 24, order=4, boundary="isolated")
    found = local_potential(grid, {"O": load_gth("O", "LDA")}, ("O",)).evaluate(np.array([[0.1, 0.2, -0.3]]))
    r = distances(grid, np.array([0.1, 0.2, -0.3]))
    far = r > 3.6
    assert largest(comm, (found.local * r + 6.0) * far) < 1e-5
    assert comm.allreduce(int(far.sum())) > 1000
    grid.destroy()


def test_shift_by_whole_spacings_shifts_the_potential(comm):
    grid = Grid(comm, (8.0, 9.0, 9.1), (20, 21, 22), order=4, boundary="periodic")
    species = {symbol: load_gth(symbol, "PBE") for symbol in ("O", "H")}
    potential = local_potential(grid, species)
    steps = np.array([7, -3, 9])
    here = everywhere(potential.evaluate(POSITIONS))
    there = everywhere(potential.evaluate(POSITIONS + steps * grid.spacing_v))
    assert there == pytest.approx(np.roll(here, steps[::-1], axis=(0, 1, 2)), abs=1e-10)
    assert np.ptp(here) > 1
    grid.destroy()


def test_moving_an_ion_by_a_lattice_vector_changes_nothing(comm):
    grid = Grid(comm, (8.0, 9.0, 9.1), (20, 21, 22), order=4, boundary="periodic")
    species = {symbol: load_gth(symbol, "LDA") for symbol in ("O", "H")}
    potential = local_potential(grid, species)
    moved_av = POSITIONS.copy()
    moved_av[0] += grid.cell_v * [1, 0, -1]
    difference = potential.evaluate(moved_av).local - potential.evaluate(POSITIONS).local
    assert largest(comm, difference) < 1e-10
    grid.destroy()


def test_split_between_smeared_core_and_rest_is_arbitrary(grid, monkeypatch):
    narrow = local_potential(grid)
    here = narrow.evaluate(POSITIONS)
    monkeypatch.setattr(local_module, "WIDTH_IN_SPACINGS", 4.2)
    wide = local_potential(grid)
    assert wide.cores.width > 1.2 * narrow.cores.width
    assert largest(grid.comm, wide.evaluate(POSITIONS).local - here.local) < 1e-6


def test_potential_is_additive_over_ions(grid):
    whole = local_potential(grid).evaluate(POSITIONS)
    for symbol, position_v in zip(SYMBOLS, POSITIONS, strict=True):
        whole.local -= local_potential(grid, SOFT, (symbol,)).evaluate(position_v[None]).local
    assert largest(grid.comm, whole.local) < 1e-12


def test_equals_the_serial_one(grid, serial_comm):
    alone = on_one_rank(grid, serial_comm)
    species = {symbol: load_gth(symbol, "LDA") for symbol in ("O", "H")}
    spread = local_potential(grid, species).evaluate(POSITIONS)
    serial = local_potential(alone, species).evaluate(POSITIONS)
    assert largest(grid.comm, spread.local - local_part(grid, serial.local)) < 1e-12
    alone.destroy()
