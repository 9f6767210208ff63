"""The reduced basis: both criteria, closure under symmetry, independence of orbital mixing."""

import numpy as np
import pytest

from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.images import image
from mpiqmd.grid.svd import decompose, orthonormalised
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import CUBE, Symmetry, grid_symmetries
from mpiqmd.rom.basis import build_basis, rank_for
from mpiqmd.rom.learned.training_set import represented


@pytest.fixture
def grid(comm):
    grid = Grid(comm, (5.0, 6.0, 6.5), (11, 12, 13), order=4)
    yield grid
    grid.destroy()


def blocks(grid, n_blocks=5, planar=False):
    """Orthonormal pairs of smooth functions that differ by block; ``planar`` ones are even or odd in z."""
    z, y, x = grid.local_coordinates
    z = z if planar else z - 0.2
    parts = []
    for s in np.linspace(-0.4, 0.6, n_blocks):
        first = np.exp(-0.5 * ((x - s) ** 2 + (y - 0.7 * s**2) ** 2 + z**2))
        second = z * np.exp(-0.4 * ((x + s) ** 2 + (y + s) ** 2 + z**2))
        parts.append(orthonormalised(Orbitals(grid, np.stack([first, second]))))
    return parts


def joined(parts):
    return Orbitals(parts[0].grid, np.concatenate([part.local for part in parts]))


@pytest.mark.parametrize("criterion, power", [("sigma", 1), ("sigma2", 2)])
@pytest.mark.parametrize("fraction", [0.5, 0.9, 0.999, 0.9999])
def test_the_fraction_is_met_at_the_rank_and_not_before(criterion, power, fraction):
    values = 2.0 ** -np.arange(30.0)
    r = rank_for(values, fraction, criterion)
    shares = np.cumsum(values**power) / (values**power).sum()
    assert shares[r - 1] >= fraction
    assert r == 1 or shares[r - 2] < fraction


def test_everything_is_reachable_and_squares_ask_for_fewer():
    values = np.array([1.0, 0.1, 1e-3, 1e-5])
    assert rank_for(values, 1.0, "sigma") == 4
    assert rank_for(values, 0.9999, "sigma2") <= rank_for(values, 0.9999, "sigma")


def test_impossible_requests_are_refused(grid):
    snapshots = joined(blocks(grid))
    with pytest.raises(ConfigError, match="criterion = 'energy'"):
        build_basis(snapshots, criterion="energy")
    with pytest.raises(ConfigError, match="energy_fraction = 1.5"):
        build_basis(snapshots, energy_fraction=1.5)
    with pytest.raises(ConfigError, match=r"rank = 11: the snapshots have 10 independent modes"):
        build_basis(snapshots, rank=11)
    with pytest.raises(DataFileError, match="all zero"):
        build_basis(Orbitals.zeros(grid, 3))


def test_both_ranks_are_reported_and_the_chosen_one_kept(grid):
    snapshots = joined(blocks(grid))
    one, two = build_basis(snapshots, 0.99, "sigma"), build_basis(snapshots, 0.99, "sigma2")
    assert (one.rank_sigma, one.rank_sigma2) == (two.rank_sigma, two.rank_sigma2)
    assert one.rank == one.rank_sigma > two.rank == two.rank_sigma2
    assert build_basis(snapshots, rank=7).rank == 7
    assert one.singular_values_k == pytest.approx(decompose(snapshots).singular_values_k)
    assert np.abs(one.modes.gram() - np.eye(one.rank)).max() < 1e-12


def test_mixing_orbitals_inside_geometries_changes_nothing(grid, rng):
    parts = blocks(grid)
    mixed = [part.combine(np.linalg.qr(rng.normal(size=(2, 2)))[0]) for part in parts]
    one, two = build_basis(joined(parts), rank=6), build_basis(joined(mixed), rank=6)
    assert one.singular_values_k[:6] == pytest.approx(two.singular_values_k[:6], abs=1e-12)
    assert np.linalg.svd(one.modes.gram(two.modes), compute_uv=False) == pytest.approx(np.ones(6), abs=1e-10)


def flip(*signs):
    return Symmetry((0, 1, 2), np.array(signs, float), np.arange(1))


ONE = [flip(1, -1, 1)]
THREE = [flip(1, -1, 1), flip(1, 1, -1), flip(1, -1, -1)]
POINT = Molecule(("He",), [[0.0, 0.0, 0.0]])
ALL = grid_symmetries(POINT, CUBE)
PYRAMID = [symmetry for symmetry in ALL if (symmetry.signs_v > 0).all()]
TETRAHEDRON = [symmetry for symmetry in ALL if np.prod(symmetry.signs_v) > 0]


@pytest.fixture
def cube(comm):
    grid = Grid(comm, 5.0, 12, order=4)
    yield grid
    grid.destroy()


@pytest.mark.parametrize("symmetries", [ONE, THREE], ids=["one", "three"])
def test_the_set_of_a_few_flips_equals_the_explicitly_closed_one(grid, symmetries):
    check_closed(grid, symmetries)


@pytest.mark.parametrize("symmetries", [ONE, PYRAMID, TETRAHEDRON, ALL], ids=["Cs", "C3v", "Td", "Oh"])
def test_the_set_equals_the_explicitly_closed_one_where_axes_are_exchanged(cube, symmetries):
    check_closed(cube, symmetries)


def check_closed(grid, symmetries):
    """Singular values and span are those of the snapshots with all their images."""
    parts = blocks(grid, 3)
    images = [image(part, symmetry.axes, symmetry.signs_v) for symmetry in symmetries for part in parts]
    explicit = decompose(joined(parts + images))
    basis = build_basis(joined(parts), 1.0, symmetries=symmetries)
    n = len(basis.singular_values_k)
    assert basis.singular_values_k == pytest.approx(explicit.singular_values_k[:n], abs=2e-7)
    count = build_basis(joined(parts), 0.99, symmetries=symmetries).rank
    kept = build_basis(joined(parts), rank=count, symmetries=symmetries)
    assert kept.singular_values_k[:count] == pytest.approx(explicit.singular_values_k[:count], abs=1e-11)
    assert np.abs(kept.modes.gram() - np.eye(count)).max() < 1e-12
    overlap = np.linalg.svd(kept.modes.gram(explicit.modes.select(slice(0, count))), compute_uv=False)
    assert overlap == pytest.approx(np.ones(count), abs=1e-6)


@pytest.mark.parametrize("symmetries", [PYRAMID, TETRAHEDRON], ids=["C3v", "Td"])
def test_modes_span_what_every_operation_leaves_as_it_is(cube, symmetries):
    """No fraction parts modes of one species, and products of representations are representations of products."""
    basis = build_basis(joined(blocks(cube, 3)), 0.995, symmetries=symmetries)
    matrices = represented(basis.modes, symmetries)
    for symmetry, matrix_mm in zip(symmetries, matrices, strict=True):
        assert matrix_mm @ matrix_mm.T == pytest.approx(np.eye(basis.rank), abs=1e-8)
        turned = image(basis.modes, symmetry.axes, symmetry.signs_v)
        assert basis.modes.gram(turned) == pytest.approx(matrix_mm, abs=1e-8)


def test_a_mirror_that_all_snapshots_have_adds_nothing(grid):
    parts = blocks(grid, planar=True)
    plain, mirrored = (
        build_basis(joined(parts), 0.9999),
        build_basis(joined(parts), 0.9999, symmetries=[flip(1, 1, -1)]),
    )
    assert mirrored.rank == plain.rank
    kept = slice(0, plain.rank)
    assert mirrored.singular_values_k[kept] == pytest.approx(np.sqrt(2.0) * plain.singular_values_k[kept], abs=1e-12)


def test_truncation_is_nested(grid):
    basis = build_basis(joined(blocks(grid)), 1.0, symmetries=ONE)
    small = basis.truncated(5)
    assert small.rank == 5
    assert np.abs(small.modes.gram(basis.modes) - np.eye(5, basis.rank)).max() < 1e-12
    with pytest.raises(ConfigError, match="rank = 0"):
        basis.truncated(0)


def test_untruncated_basis_holds_every_snapshot(grid):
    snapshots = joined(blocks(grid))
    basis = build_basis(snapshots, 1.0)
    projected = basis.modes.combine(basis.coefficients(snapshots))
    assert Orbitals(grid, projected.local - snapshots.local).norms().max() < 1e-10
