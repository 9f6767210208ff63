"""Internal rotation: its angle is a dihedral angle, blind to rigid motions; its derivative is that of finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule as ase_molecule
from scipy.spatial.transform import Rotation

from mpiqmd.errors import DataFileError, GeometryError
from mpiqmd.molecule.internal import measure
from mpiqmd.molecule.large_amplitude import coordinate_of, difference
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.torsion import find_torsions
from mpiqmd.units import BOHR_IN_ANGSTROM
from tests.helpers.oracles import position_gradient

pytestmark = pytest.mark.serial
TURNING = ["H2O2", "CH3OH", "C2H6", "CH3CHO", "N2H4", "HCOOH", "C2H4"]


def named(name: str) -> Molecule:
    """A molecule of ASE's collection."""
    atoms = ase_molecule(name)
    return Molecule(tuple(atoms.symbols), atoms.positions / BOHR_IN_ANGSTROM)


def shaken(molecule: Molecule, seed: int = 3) -> np.ndarray:
    """Its positions with every atom moved by about a tenth of a bohr."""
    return molecule.positions_av + 0.1 * np.random.default_rng(seed).normal(size=molecule.positions_av.shape)


@pytest.mark.parametrize(
    ("name", "folds"),
    [("H2O2", [(1, 1)]), ("CH3OH", [(3, 1)]), ("C2H6", [(3, 3)]), ("CH3CH2OH", [(1, 3), (1, 1)]), ("N2H4", [(2, 2)]),
     ("CH3CHO", [(3, 1)]), ("H2O", []), ("C6H6", []), ("HCN", []), ("C2H2", [])],
)  # fmt: skip
def test_bonds_that_may_turn_are_those_between_bent_ends_outside_of_rings(name, folds):
    assert sorted(torsion.folds for torsion in find_torsions(named(name))) == sorted(folds)


@pytest.mark.parametrize("name", TURNING)
def test_the_gradient_is_that_of_the_angle(name):
    molecule = named(name)
    for torsion in find_torsions(molecule):
        positions_av = shaken(molecule)
        here = torsion.value(positions_av)
        slopes_av = position_gradient(
            lambda there_av, t=torsion, h=here: difference(t, t.value(there_av), h), positions_av, 1e-4
        )
        assert slopes_av == pytest.approx(torsion.gradient(positions_av), abs=1e-9)


@pytest.mark.parametrize("name", TURNING)
def test_rigid_motion_leaves_the_angle_and_a_mirror_turns_its_sign(name):
    molecule = named(name)
    for torsion in find_torsions(molecule):
        positions_av = shaken(molecule)
        value, rotation = torsion.value(positions_av), Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()
        assert torsion.value(positions_av @ rotation.T + [1.0, 2.0, 3.0]) == pytest.approx(value, abs=1e-12)
        if max(torsion.folds) == 1:
            assert torsion.value(-positions_av) == pytest.approx(-value, abs=1e-12)


def test_with_one_atom_at_each_end_it_is_the_dihedral_angle():
    molecule = named("H2O2")
    (torsion,) = find_torsions(molecule)
    for seed in range(5):
        positions_av = shaken(molecule, seed)
        chain = (torsion.near[0], *torsion.bond, torsion.far[0])
        assert np.degrees(torsion.value(positions_av)) == pytest.approx(float(measure(positions_av, chain)), abs=1e-9)


def test_an_exchange_in_a_circle_is_a_part_of_the_circle_whatever_the_shape():
    molecule = named("CH3OH")
    (torsion,) = find_torsions(molecule)
    positions_av = shaken(molecule)
    exchanged_av = positions_av.copy()
    exchanged_av[list(torsion.near)] = positions_av[list(np.roll(torsion.near, 1))]
    turned = difference(torsion, torsion.value(exchanged_av), torsion.value(positions_av))
    assert abs(turned) == pytest.approx(2 * np.pi / 3, abs=1e-12)


@pytest.mark.parametrize("name", TURNING)
def test_turning_changes_the_angle_and_no_bond_or_angle_of_either_end(name):
    molecule = named(name)
    for torsion in find_torsions(molecule):
        positions_av = shaken(molecule)
        turned_av = torsion.moved(positions_av, 1.234)
        assert torsion.value(turned_av) == pytest.approx(1.234, abs=1e-12)
        bond = list(torsion.bond)
        far, near = [*bond, *torsion.turning], [a for a in range(len(molecule)) if a not in torsion.turning]
        for side in (far, near):
            before, after = (np.linalg.norm(each[side][:, None] - each[side], axis=2) for each in (positions_av, turned_av))
            assert after == pytest.approx(before, abs=1e-12)
        assert np.allclose(turned_av[near], positions_av[near], atol=1e-14)
        # vectors at the atoms turn as the atoms do
        base_v = positions_av[torsion.bond[1]]
        assert torsion.carried(positions_av - base_v, positions_av, 1.234) + base_v == pytest.approx(turned_av, abs=1e-12)


def test_it_is_made_again_from_its_description_and_from_nothing_else():
    (torsion,) = find_torsions(named("CH3OH"))
    assert coordinate_of(torsion.described()) == torsion
    for broken in ({"kind": "torsion"}, {"kind": "spiral"}, {}, torsion.described() | {"bond": [1]}):
        with pytest.raises(DataFileError, match=r"large amplitude.*Train again"):
            coordinate_of(broken)


def test_an_end_in_line_with_the_bond_has_no_angle():
    molecule = named("H2O2")
    (torsion,) = find_torsions(molecule)
    straight_av = molecule.positions_av.copy()
    first, second = torsion.bond
    straight_av[torsion.far[0]] = 1.6 * straight_av[second] - 0.6 * straight_av[first]
    with pytest.raises(GeometryError, match="in line"):
        torsion.value(straight_av)
