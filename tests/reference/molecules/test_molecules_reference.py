"""Molecules against PySCF: energies, structures and harmonic frequencies.  README.md says where the numbers come from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mpiqmd.config.settings import Relaxation
from mpiqmd.grid import Grid
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.hifi.body_solver import HifiBodySolver
from mpiqmd.molecule.body_surface import BodySurface
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import moving_frame
from mpiqmd.molecule.surface import Owner
from mpiqmd.molecule.symmetry import CUBE
from mpiqmd.molecule.vibrations import vibrations
from mpiqmd.parallel.log import silent
from mpiqmd.statics.derivatives import differentiate
from mpiqmd.statics.relaxation import relax
from mpiqmd.units import BOHR_IN_ANGSTROM, HARTREE_IN_INVERSE_CM
from tests.helpers.oracles import gth_model

pytestmark = pytest.mark.reference

HERE = Path(__file__).parent
GEOMETRIES = json.loads((HERE / "geometries.json").read_text())
VALUES = json.loads((HERE / "value.json").read_text())
MHA = 1e-3
WITHIN = {"HF": 5 * MHA, "H2O2": 3.5 * MHA, "OH-": 4 * MHA}
"""Fluorine is the hardest of the potentials; the walls squeeze the anion.  Within 2.5 mHa otherwise."""


def energy(comm, name, cell, points, order):
    entry = GEOMETRIES[name]
    grid = Grid(comm, cell, points, order, "isolated")
    model = gth_model(grid, tuple(entry["symbols"]), "LDA", entry["charge"])
    found = AbpgSolver(model, 1e-8).solve(model.place(np.array(entry["positions"]))).energy
    grid.destroy()
    return found


@pytest.mark.parametrize("name", ["N2", "CH4"])
def test_quick_look_on_a_coarse_grid(comm, name):
    assert energy(comm, name, 11.0, 44, 12) == pytest.approx(VALUES["energies"][name], abs=15 * MHA)


@pytest.mark.slow
@pytest.mark.parametrize("name", GEOMETRIES)
def test_energies(comm, name):
    found = energy(comm, name, 14.0, 74, 12)
    assert found == pytest.approx(VALUES["energies"][name], abs=WITHIN.get(name, 2.5 * MHA))


CELLS = {"H2O": (14.0, 14.0, 13.0), "CO2": (12.5, 12.5, 16.0), "NH3": (14.0, 14.0, 14.0)}


def shape(positions_av):
    """Bond lengths from the first atom (angstrom) and the angles between them (degrees)."""
    bonds = positions_av[1:] - positions_av[0]
    lengths = np.linalg.norm(bonds, axis=1)
    cosines = (bonds @ bonds.T / np.outer(lengths, lengths))[np.triu_indices(len(bonds), 1)]
    return lengths * BOHR_IN_ANGSTROM, np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_structure_and_frequencies(comm, name):
    """Order 8 and 0.18 bohr, relaxed from the reference: 0.005 angstrom, 0.5 degrees, 2 % from the same potentials."""
    exact = VALUES[f"{name} gth"]
    molecule = Molecule(tuple(exact["symbols"]), np.array(exact["positions"]))
    points = [2 * int(np.ceil(edge / 0.36)) for edge in CELLS[name]]
    grid = Grid(comm, CELLS[name], points, 8, "isolated")
    model = gth_model(grid, molecule.symbols)
    frame = moving_frame(molecule, CUBE, None)
    surface = Owner(BodySurface(frame, HifiBodySolver(model, AbpgSolver(model, 1e-10))))
    path = relax(molecule, surface, Relaxation(force_tolerance=3e-5), comm, silent(comm))
    relaxed = molecule.with_positions(path.positions_sav[-1])
    found = vibrations(relaxed, differentiate(relaxed, surface, 0.01, silent(comm)).hessian_cc)
    lengths, angles = shape(relaxed.positions_av)
    exact_lengths, exact_angles = shape(molecule.positions_av)
    assert path.converged
    assert lengths == pytest.approx(exact_lengths, abs=0.005)
    assert angles == pytest.approx(exact_angles, abs=0.5)
    n_modes = len(found.frequencies_k)
    expected = np.sort(exact["frequencies"])[-n_modes:]
    assert HARTREE_IN_INVERSE_CM * found.frequencies_k == pytest.approx(expected, rel=0.02)
    grid.destroy()
