"""Windows along an internal rotation: weights that sum to one, images that symmetry has, motion across what is held."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.errors import DataFileError
from mpiqmd.molecule.frame import EckartFrame
from mpiqmd.molecule.large_amplitude import difference
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.torsion import find_torsions
from mpiqmd.sampling.across import deviation_along, modes_across
from mpiqmd.sampling.normal_modes import normal_modes
from mpiqmd.sampling.windows import Windows, actions, all_around, lay_windows, smooth_step, spread
from tests.unit.molecule.test_torsion import named, shaken

pytestmark = pytest.mark.serial
SPACING = np.radians(30.0)


def laid(molecule: Molecule, number: int = 0) -> Windows:
    """Windows along one of its rotations."""
    torsion = find_torsions(molecule)[number]
    return lay_windows(torsion, molecule, all_around(torsion, SPACING))


@pytest.mark.parametrize(
    ("name", "distinct"), [("H2O2", 7), ("CH3OH", 3), ("C2H6", 3), ("C2H4", 4), ("CH3CHO", 3), ("HCOOH", 7)]
)
def test_windows_that_symmetry_makes_alike_have_one_model(name, distinct):
    molecule = named(name)
    windows = laid(molecule)
    assert len(windows) == 12 and windows.distinct == list(range(distinct))
    coordinate = windows.coordinate
    for window, (model, operation) in enumerate(zip(windows.models_w, windows.operations_w, strict=True)):
        here_av = coordinate.moved(shaken(molecule), float(windows.centres_w[window]) + 0.1)
        assert abs(windows.offset(model, operation.image(here_av))) == pytest.approx(0.1, abs=1e-9)
        if window == model:
            assert operation.is_identity


def test_a_chiral_molecule_has_no_mirror_images():
    # fluorochloromethanol: four different neighbours of the carbon
    methanol = named("CH3OH")
    (torsion,) = find_torsions(methanol)
    symbols, positions_av, carbon = list(methanol.symbols), methanol.positions_av.copy(), torsion.bond[0]
    for atom, symbol, longer in zip(torsion.near, ("F", "Cl"), (1.25, 1.6), strict=False):
        symbols[atom] = symbol
        positions_av[atom] += (longer - 1.0) * (positions_av[atom] - positions_av[carbon])
    chiral = Molecule(tuple(symbols), positions_av)
    assert laid(chiral).distinct == list(range(12))


def test_weights_are_a_smooth_partition_of_unity():
    molecule = named("CH3OH")
    windows = laid(molecule)
    for value in np.random.default_rng(5).uniform(-np.pi, np.pi, size=200):
        there_av = windows.coordinate.moved(molecule.positions_av, float(value))
        shares = windows.place(there_av).shares
        assert len(shares) in (1, 2) and sum(share.weight for share in shares) == pytest.approx(1.0, abs=1e-14)
        step = 1e-6
        beside = [
            {
                share.window: share.weight
                for share in windows.place(windows.coordinate.moved(there_av, value + sign * step)).shares
            }
            for sign in (1.0, -1.0)
        ]
        for share in shares:
            slope = (beside[0].get(share.window, 0.0) - beside[1].get(share.window, 0.0)) / (2 * step)
            assert share.slope == pytest.approx(slope, abs=1e-6)


def test_the_step_has_three_continuous_derivatives_at_its_ends():
    steps = np.array([1e-3, 2e-3])
    for low in (smooth_step(t)[0] for t in steps):
        assert low < 40.0 * steps[1] ** 4
    assert [smooth_step(t)[0] + smooth_step(1.0 - t)[0] for t in steps] == pytest.approx([1.0, 1.0], abs=1e-13)
    assert smooth_step(-1.0) == (0.0, 0.0) and smooth_step(2.0) == (1.0, 0.0)


def test_windows_are_made_again_from_their_description():
    windows = laid(named("H2O2"))
    again = Windows.of(windows.described())
    assert again.described() == windows.described()
    others = list(range(12))
    broken = [
        ("overlap", 0.0), ("overlap", 0.1), ("half_width", "x"), ("half_width", np.inf), ("centres", []), ("centres", others),
        ("centres", [others]), ("models", [99] * 12), ("models", [1.0] * 12), ("models", [*others[1:], 0]),
        ("models", others[1:]), ("permutations", [[0]]), ("permutations", [[0, 0, 1, 1]] * 12), ("permutations", [[0, 1]] * 12),
        ("mirrored", ["no"] * 12), ("coordinate", windows.coordinate.described() | {"far": [99]}),
    ]  # fmt: skip
    for key, value in broken:
        with pytest.raises(DataFileError, match="cannot be"):
            Windows.of(windows.described() | {key: value})


@pytest.mark.parametrize("name", ["CH3OH", "C2H6", "CH3ONO", "CH3CH2OH"])
def test_of_several_images_the_one_that_fits_is_taken(name):
    molecule = named(name)
    windows = laid(molecule)
    coordinate, centres = windows.coordinate, windows.centres_w
    references = [coordinate.moved(molecule.positions_av, float(centre)) for centre in centres]

    def apart(operation, window, model):
        about = molecule.with_positions(references[model])
        upon_av = EckartFrame(about).align(operation.image(references[window])).body_positions_av
        return np.linalg.norm(upon_av - about.positions_av + about.centre_of_mass_v, axis=1).max()

    for window, (model, operation) in enumerate(zip(windows.models_w, windows.operations_w, strict=True)):
        others = [
            apart(other, window, model)
            for other, sign, shift in actions(coordinate, molecule)
            if abs(difference(coordinate, sign * centres[window] + shift, centres[model])) < 1e-6
        ]
        assert apart(operation, window, model) <= min(others) + 0.01


def test_modes_are_the_same_on_any_machine():
    """Round-off in the Hessian turns no mode round: signs and mixtures of equal ones are chosen by the largest coordinates."""
    molecule = named("C2H6")
    (torsion,) = find_torsions(molecule)
    rng = np.random.default_rng(2)
    distances = [(i, j) for i in range(8) for j in range(i)]
    hessian_cc = np.zeros((24, 24))
    for i, j in distances:
        arm_v = molecule.positions_av[i] - molecule.positions_av[j]
        row_c = np.zeros((8, 3))
        row_c[i], row_c[j] = arm_v, -arm_v
        hessian_cc += np.outer(row_c, row_c) / (arm_v @ arm_v) ** 2
    first = modes_across(normal_modes(molecule, hessian_cc), torsion)
    for _ in range(10):
        noise_cc = 1e-14 * rng.normal(size=(24, 24))
        again = modes_across(normal_modes(molecule, hessian_cc + noise_cc), torsion)
        assert again.displacements_kav == pytest.approx(first.displacements_kav, abs=1e-6)


def test_a_geometry_is_inside_or_beyond_a_window():
    molecule, windows = named("H2O2"), laid(named("H2O2"))
    there_av = windows.coordinate.moved(molecule.positions_av, np.radians(45.0))
    assert np.degrees(windows.beyond(1, there_av)) == pytest.approx(-5.0)
    assert np.degrees(windows.beyond(0, there_av)) == pytest.approx(25.0)
    assert [share.window for share in windows.place(there_av).shares] == [1, 2]


def test_offsets_fill_a_window_with_dense_ends():
    offsets = spread(64, 0.35)
    assert offsets[0] == 0.0 and np.abs(offsets).max() <= 0.35
    counts, _ = np.histogram(offsets, bins=[-0.36, -0.25, -0.12, 0.12, 0.25, 0.36])
    assert counts.min() >= 8 and counts[0] > 10 < counts[-1]


def test_motion_across_a_coordinate_is_thermal_motion_at_its_value():
    molecule = named("CH3OH")
    rng = np.random.default_rng(2)
    root = rng.normal(size=(18, 18))
    modes = normal_modes(molecule, root @ root.T + 5.0 * np.eye(18))
    (torsion,) = find_torsions(molecule)
    across, temperature = modes_across(modes, torsion), 1e-3
    gradient_c = torsion.gradient(molecule.positions_av).ravel()

    def covariance(of):
        moved = (of.displacements_kav * of.deviations(temperature)[:, None, None]).reshape(len(of.frequencies_k), -1)
        return moved.T @ moved

    # a normal distribution with one linear combination held: its covariance without the part along that
    free_cc = covariance(modes)
    along_c = free_cc @ gradient_c
    variance = gradient_c @ along_c
    assert len(across.frequencies_k) == len(modes.frequencies_k) - 1
    assert np.sqrt(variance) == pytest.approx(deviation_along(modes, torsion, temperature), rel=1e-12)
    assert covariance(across) == pytest.approx(free_cc - np.outer(along_c, along_c) / variance, abs=1e-12)
    assert np.abs(across.displacements_kav.reshape(-1, 18) @ gradient_c).max() < 1e-12
