"""Symmetry species: what is even or odd under commuting twofold operations, and the blocks that follow."""

import numpy as np
import pytest

from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import grid_symmetries
from mpiqmd.rom.learned import compile
from mpiqmd.rom.learned.species import Species, of_species, parity, principal
from mpiqmd.rom.learned.training_set import Operation, TrainingSet
from tests.helpers.learned_water import COARSE, learn, serial_water
from tests.helpers.tiny_water import UNSEEN, geometry

pytestmark = pytest.mark.serial

CUBE = np.array([[1.0, 1.0, 1.0], [-1.0, -1.0, 1.0], [-1.0, 1.0, -1.0], [1.0, -1.0, -1.0]])
METHANE = Molecule(("C", "H", "H", "H", "H"), np.concatenate([np.zeros((1, 3)), 1.19 * CUBE]))
SHEET = np.array([[1.25, 0, 0], [-1.25, 0, 0], [2.3, 1.7, 0], [2.3, -1.7, 0], [-2.3, 1.7, 0], [-2.3, -1.7, 0]])
ETHENE = Molecule(("C", "C", "H", "H", "H", "H"), SHEET)
DIAGONAL = np.array([[0.3, 0.3, 0.3], [1.7, -0.2, -0.2], [-0.2, 1.7, -0.2], [-0.2, -0.2, 1.7]])
AMMONIA = Molecule(("N", "H", "H", "H"), DIAGONAL)


def displacements(molecule, symmetries):
    """What the operations do to displacements of the atoms, in place of orbitals over modes."""
    units = np.eye(3 * len(molecule)).reshape(-1, len(molecule), 3)
    return [Operation(g, np.array([g.image(unit).ravel() for unit in units]).T) for g in symmetries]


def training(molecule):
    operations = displacements(molecule, grid_symmetries(molecule))
    return TrainingSet(molecule.positions_av[None], np.zeros((1, 3 * len(molecule), 1)), operations)


@pytest.mark.parametrize(
    ("molecule", "counts"), [(METHANE, [3, 4, 4, 4]), (ETHENE, 8), (AMMONIA, [7, 5])], ids=["Td", "D2h", "C3v"]
)
def test_displacements_fall_into_the_species_of_the_largest_commuting_group(molecule, counts):
    """Of Td there are D2 or C2v, with a quarter of all each or nearly so; of C3v the mirrors do not commute."""
    species = Species.of(training(molecule))
    basis, labels = of_species(species.over_positions_xx, np.eye(3 * len(molecule)))
    found = np.bincount(labels)
    assert len(found) == counts if isinstance(counts, int) else sorted(found) == sorted(counts)
    np.testing.assert_allclose(basis.T @ basis, np.eye(len(labels)), atol=1e-13)
    np.testing.assert_allclose(species.over_positions_xx @ basis, basis * labels, atol=1e-12)
    np.testing.assert_array_equal(species.over_modes_mm, species.over_positions_xx)


def test_operations_that_move_the_centre_are_left_out():
    bent = METHANE.positions_av.copy()
    bent[1] += [0.1, 0.1, 0.0]
    moved = TrainingSet(bent[None], np.zeros((1, 15, 1)), displacements(METHANE, grid_symmetries(METHANE)))
    labels = of_species(Species.of(moved).over_positions_xx, np.eye(15))[1]
    assert sorted(np.bincount(labels)) == [6, 9]  # one mirror is left
    off = training(METHANE)
    leaking = [Operation(each.symmetry, 0.9 * each.matrix_mm) for each in off.operations]
    assert not Species.of(TrainingSet(off.positions_sav, off.orbitals_smn, leaking)).over_modes_mm.any()


def test_a_span_that_is_nearly_of_species_is_made_so(rng):
    species = Species.of(training(ETHENE))
    pure, labels = of_species(species.over_modes_mm, np.eye(18))
    mixed = np.linalg.qr(pure[:, :7] @ rng.normal(size=(7, 7)) + 1e-6 * rng.normal(size=(18, 7)))[0]
    basis, found = of_species(species.over_modes_mm, mixed)
    assert sorted(found) == sorted(labels[:7])
    np.testing.assert_allclose(species.over_modes_mm @ basis, basis * found, atol=1e-12)
    np.testing.assert_allclose(basis @ (basis.T @ mixed), mixed, atol=1e-5)


def test_principal_directions_of_a_closed_set_are_those_of_each_species(rng):
    species = Species.of(training(ETHENE))
    pure, labels = of_species(species.over_modes_mm, np.eye(18))
    closed = np.concatenate(list(_all_signs(rng.normal(size=(5, 18)), labels))) @ pure.T
    values, directions, found = principal(closed @ pure, labels)
    expected = np.linalg.svd(closed, compute_uv=False)
    np.testing.assert_allclose(values[: len(expected)], expected, atol=1e-12)
    assert (np.diff(values) <= 0.0).all() and all(set(labels[d != 0.0]) <= {k} for d, k in zip(directions, found, strict=True))


def _all_signs(rows, labels):
    """Yield the images of rows in a basis of species."""
    for flips in range(8):
        yield rows * np.array([(-1.0) ** bin(int(label) & flips).count("1") for label in labels])


def test_equivalent_atoms_share_their_tables(monkeypatch):
    """Made on the grid for one, mirrored for the other: the numbers are those of both on the grid."""
    water = serial_water()
    shared = learn(water.trained, water.training, COARSE)
    monkeypatch.setattr(compile, "equivalent", lambda boxes, species: {})
    alone = learn(water.trained, water.training, COARSE)
    for one, other in zip(shared.arrays.ions, alone.arrays.ions, strict=True):
        assert one.index == other.index
        assert one.left_kj.shape == other.left_kj.shape
    placed = water.energy.place_batch(np.array([geometry(*point) for point in UNSEEN]))
    found, expected = (each.solver().solve_batch(each.energy.place_batch(placed.positions_bav)) for each in (shared, alone))
    np.testing.assert_allclose(found.energies_b, expected.energies_b, atol=1e-9)
    np.testing.assert_allclose(found.gradient_bav, expected.gradient_bav, atol=1e-7)


def test_parity_counts_the_operations_under_which_a_species_is_odd():
    labels = np.arange(8)
    np.testing.assert_array_equal(parity(labels, 0b001), [1, -1, 1, -1, 1, -1, 1, -1])
    np.testing.assert_array_equal(parity(labels, 0b110), [1, 1, -1, -1, -1, -1, 1, 1])
    np.testing.assert_array_equal(parity(labels, 0b111), [(-1) ** bin(label).count("1") for label in labels])


def test_a_model_of_water_has_blocks():
    """Left and right of its plane of symmetry: half of the coefficients; with the plane of the atoms, more of the orbitals."""
    arrays = serial_water().arrays
    shares = [
        np.mean(each != 0.0)
        for each in (arrays.start.coefficients_td, arrays.subspaces.directions_dnk, arrays.one_electron.constant_kk)
    ]
    assert shares[0] < 0.6 and shares[1] < 0.4 and shares[2] < 0.4
