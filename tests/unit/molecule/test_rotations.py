"""Symmetry numbers of textbooks, turned, shaken and isotopically labelled."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as ase_molecule
from scipy.spatial.transform import Rotation

from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.rotations import symmetry_number
from mpiqmd.units import BOHR_IN_ANGSTROM

pytestmark = pytest.mark.serial
HEXAFLUORIDE = Atoms("SF6", [[0, 0, 0], *(1.56 * s * np.eye(3)[v] for v in range(3) for s in (1, -1))])


def molecule(atoms, shake=0.0):
    """Return a molecule (bohr) turned at random, its atoms moved by up to ``shake`` bohr."""
    turned_av = atoms.positions @ Rotation.random(random_state=3).as_matrix().T / BOHR_IN_ANGSTROM
    noise_av = np.random.default_rng(5).uniform(-shake, shake, turned_av.shape) if shake else 0.0
    return Molecule(tuple(atoms.symbols), turned_av + noise_av)


@pytest.mark.parametrize("shake", [0.0, 0.01])
@pytest.mark.parametrize(
    ("name", "number"),
    [("H2O", 2), ("NH3", 3), ("CH4", 12), ("C6H6", 12), ("C2H4", 4), ("C2H6", 6), ("HCN", 1), ("CO2", 2), ("CH3OH", 1),
     ("H2O2", 2), ("HCOOH", 1), ("H2", 2), ("HF", 1), ("O", 1), ("C2H2", 2), ("CH3Cl", 3), ("SiH4", 12), ("H2CO", 2)],
)  # fmt: skip
def test_textbook_symmetry_numbers(name, number, shake):
    assert symmetry_number(molecule(ase_molecule(name), shake)) == number


def test_an_octahedron_has_24():
    assert symmetry_number(molecule(HEXAFLUORIDE)) == 24


def test_isotopes_are_not_alike():
    water = molecule(ase_molecule("H2O"))
    masses_a = water.masses_a.copy()
    masses_a[1] *= 2.0
    assert symmetry_number(Molecule(water.symbols, water.positions_av, masses_a=masses_a)) == 1
