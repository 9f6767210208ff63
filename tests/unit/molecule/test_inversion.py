"""Inversion of a pyramid: an angle blind to rigid motions that a mirror turns, with the derivative of finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpiqmd.errors import DataFileError, GeometryError
from mpiqmd.molecule.inversion import find_inversions
from mpiqmd.molecule.large_amplitude import coordinate_of
from mpiqmd.sampling.windows import from_side_to_side, lay_windows
from tests.helpers.oracles import position_gradient
from tests.unit.molecule.test_torsion import named, shaken

pytestmark = pytest.mark.serial
PYRAMIDS = ["NH3", "PH3", "H3CNH2", "H2CO"]


@pytest.mark.parametrize(("name", "count"), [("NH3", 1), ("H3CNH2", 1), ("N2H4", 2), ("H2CO", 1), ("H2O", 0), ("CH4", 0)])
def test_atoms_with_three_neighbours_may_invert(name, count):
    molecule = named(name)
    found = find_inversions(molecule)
    assert len(found) == count
    assert all(inversion.value(molecule.positions_av) > -1e-12 for inversion in found)


@pytest.mark.parametrize("name", PYRAMIDS)
def test_the_gradient_is_that_of_the_angle(name):
    molecule = named(name)
    (inversion,) = find_inversions(molecule)
    positions_av = shaken(molecule)
    slopes_av = position_gradient(inversion.value, positions_av, 1e-4)
    assert slopes_av == pytest.approx(inversion.gradient(positions_av), abs=1e-9)


@pytest.mark.parametrize("name", PYRAMIDS)
def test_moving_changes_the_angle_and_no_bond_of_the_apex(name):
    molecule = named(name)
    (inversion,) = find_inversions(molecule)
    positions_av = shaken(molecule)
    for value in (0.3, 0.0, -0.4):
        moved_av = inversion.moved(positions_av, value)
        assert inversion.value(moved_av) == pytest.approx(value, abs=1e-12)
        before, after = (np.linalg.norm(each[list(inversion.base)] - each[inversion.apex], axis=1)
                         for each in (positions_av, moved_av))  # fmt: skip
        assert after == pytest.approx(before, abs=1e-12)
        # what hangs on a neighbour moves with it, and the vectors at the atoms turn with the bonds
        for branch in inversion.branches:
            shifts_av = (moved_av - positions_av)[list(branch)]
            assert shifts_av == pytest.approx(np.tile(shifts_av[0], (len(branch), 1)), abs=1e-12)
        arms_av = positions_av - positions_av[inversion.apex]
        carried_av = inversion.carried(arms_av, positions_av, value)
        for atom in inversion.base:
            assert carried_av[atom] == pytest.approx((moved_av - moved_av[inversion.apex])[atom], abs=1e-12)


def test_rigid_motion_leaves_it_and_mirror_or_exchange_turn_its_sign():
    molecule = named("NH3")
    (inversion,) = find_inversions(molecule)
    positions_av = shaken(molecule)
    value, rotation = inversion.value(positions_av), Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()
    assert inversion.value(positions_av @ rotation.T + [1.0, 2.0, 3.0]) == pytest.approx(value, abs=1e-12)
    assert inversion.value(-positions_av) == pytest.approx(-value, abs=1e-12)
    exchanged_av = positions_av.copy()
    exchanged_av[list(inversion.base[:2])] = positions_av[list(inversion.base[1::-1])]
    assert inversion.value(exchanged_av) == pytest.approx(-value, abs=1e-12)


def test_windows_on_both_sides_have_one_model():
    molecule = named("NH3")
    (inversion,) = find_inversions(molecule)
    steepness = inversion.value(molecule.positions_av)
    windows = lay_windows(inversion, molecule, from_side_to_side(steepness, np.radians(30.0)))
    assert windows.models_w == (0, 1, 0) and windows.operations_w[0].is_identity
    assert windows.centres_w == pytest.approx([-steepness, 0.0, steepness])
    for value in np.linspace(-1.6, 1.6, 41) * steepness:
        shares = windows.place(inversion.moved(molecule.positions_av, float(value))).shares
        assert sum(share.weight for share in shares) == pytest.approx(1.0, abs=1e-13)
        assert sum(share.slope for share in shares) == pytest.approx(0.0, abs=1e-12)
    # outwards the last windows have no end
    far_av = inversion.moved(molecule.positions_av, 1.9 * steepness)
    assert windows.place(far_av).shares == [(2, 1.0, 0.0)] and windows.beyond(2, far_av) == -np.inf
    assert windows.beyond(1, far_av) > 0.0


def test_it_is_made_again_from_its_description_and_from_nothing_else():
    (inversion,) = find_inversions(named("H3CNH2"))
    assert coordinate_of(inversion.described()) == inversion
    with pytest.raises(DataFileError, match="large amplitude"):
        coordinate_of(inversion.described() | {"base": [1, 2]})


def test_what_is_no_pyramid_any_more_has_no_angle():
    molecule = named("NH3")
    (inversion,) = find_inversions(molecule)
    steep_av, line_av = molecule.positions_av.copy(), molecule.positions_av.copy()
    normal_v = steep_av[inversion.apex] - steep_av[list(inversion.base)].mean(axis=0)
    steep_av[inversion.apex] += 20.0 * normal_v
    line_av[list(inversion.base)] = np.outer([1.0, 2.0, 3.0], [1.0, 0.0, 0.0])
    for broken_av, words in ((steep_av, "no base of a pyramid"), (line_av, "on one line")):
        with pytest.raises(GeometryError, match=words):
            inversion.value(broken_av)
