"""Compilation: every array is what its definition on the grid says, and the rest is exactly the xc remainder."""

from dataclasses import replace

import numpy as np
import pytest

from mpiqmd.errors import ConfigError
from mpiqmd.grid.arrays import Field
from mpiqmd.kohnsham.terms.hartree import Hartree
from mpiqmd.kohnsham.terms.local_potential import LocalPotential
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.molecule.frame import make_frame
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.rom.compiled.build import Compiler
from mpiqmd.rom.compiled.compile import _reference, compile_model
from mpiqmd.rom.compiled.elements import PairIntegrals, density_of_pairs
from mpiqmd.rom.compiled.quadrature import QuadratureBuilder
from mpiqmd.rom.compiled.tables import PositionTables
from mpiqmd.rom.grid_model import GridReducedModel
from mpiqmd.rom.learned.nonnegative_weights import early_stopped_nnls
from mpiqmd.rom.learned.remainder import Remainder
from tests.helpers.compiled_water import compile_water, random_density_matrix, serial_water
from tests.helpers.tiny_water import UNSEEN, geometry

CASES = [("LDA", "isolated"), ("PBE", "isolated"), ("LDA", "periodic"), ("PBE", "isolated", "doubled")]


def reference_density(water):
    pairs = water.arrays.pairs
    return density_of_pairs(water.dense_modes, pairs, _reference(pairs, pairs.characters_mg, water.training))


def exact_remainder(water, density_matrix):
    """The remainder's integral over the whole grid and its derivative in 2P."""
    model, pairs = water.model, water.arrays.pairs
    gradient, shape = model.term(ExchangeCorrelation).gradient, model.density_grid.local_shape
    coefficients_p = pairs.coefficients(density_matrix)
    reference, density = reference_density(water), density_of_pairs(water.dense_modes, pairs, coefficients_p)
    slopes = [None if gradient is None else gradient.apply(f).reshape(3, -1) for f in (reference, density)]
    remainder = Remainder(model.functional, reference.local.ravel(), slopes[0])
    value, d_rho, d_slope = remainder.evaluate(density.local.ravel(), slopes[1])
    potential = Field(model.density_grid, d_rho.reshape(shape))
    if d_slope is not None:
        potential.local -= gradient.divergence(d_slope.reshape(3, *shape))
    energy = Field(model.density_grid, value.reshape(shape)).integrate()
    return energy, water.dense_modes.matrix_elements(potential)


@pytest.mark.serial
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_without_quadrature_only_the_remainder_is_missing(case, rng):
    water = serial_water(*case)
    energy, grid = water.energy(quadrature=False), GridReducedModel(water.model, water.modes)
    positions = water.at_nodes(10, 37)
    placed, on_grid = energy.place(positions), grid.place(positions)
    same_sector = np.equal.outer(water.arrays.pairs.sectors_m, water.arrays.pairs.sectors_m)
    trained = water.training.density_matrices_smm
    for density_matrix in (trained[2], 0.3 * trained[0] + 0.7 * trained[3]):
        value, hamiltonian = energy.evaluate(placed, density_matrix)
        exact, exact_hamiltonian = on_grid.evaluate(density_matrix)
        rest, rest_hamiltonian = exact_remainder(water, density_matrix)
        assert abs(rest) > 1e-8
        assert value + rest == pytest.approx(exact, abs=1e-10)
        np.testing.assert_allclose(hamiltonian + rest_hamiltonian * same_sector, exact_hamiltonian * same_sector, atol=1e-6)


@pytest.mark.serial
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_interaction_is_that_of_its_definition_for_sampled_densities(case):
    water = serial_water(*case)
    pairs = water.arrays.pairs
    for matrix in water.training.density_matrices_smm:
        d = pairs.coefficients(matrix)
        np.testing.assert_allclose(water.arrays.interaction.apply(d), exact_interaction(water, d), atol=1e-6)


@pytest.mark.serial
def test_classes_of_pairs_do_not_interact(rng):
    water = serial_water()
    assert len(water.arrays.pairs.classes) == 2
    for part in water.arrays.pairs.classes:
        d = np.zeros(len(water.arrays.pairs))
        d[part] = rng.normal(size=part.stop - part.start)
        potential = exact_interaction(water, d)
        assert np.abs(potential[part]).max() > 1e-3
        potential[part] = 0.0
        assert np.abs(potential).max() < 1e-10


@pytest.mark.serial
@pytest.mark.parametrize("functional", ["LDA", "PBE"])
def test_interaction_misses_the_square_of_what_was_not_sampled(functional, rng):
    water = serial_water(functional)
    pairs = water.arrays.pairs
    inside = pairs.coefficients(water.training.density_matrices_smm[1])
    outside = pairs.coefficients(random_density_matrix(rng, pairs)) - inside
    misses = []
    for share in (1e-1, 1e-2):
        d = inside + share * outside
        misses.append(0.5 * d @ (exact_interaction(water, d) - water.arrays.interaction.apply(d)))
    assert abs(misses[0]) > 1e-5
    assert misses[1] == pytest.approx(1e-2 * misses[0], rel=0.01)


def exact_interaction(water, coefficients_p):
    """Hartree potential plus xc kernel of a density on the pairs, from the grid."""
    density = density_of_pairs(water.dense_modes, water.arrays.pairs, coefficients_p)
    response = water.model.term(Hartree).potential(density)
    response.local += water.model.term(ExchangeCorrelation).kernel(reference_density(water)).apply(density).local
    return water.arrays.pairs.packed(water.dense_modes.matrix_elements(response))


@pytest.mark.serial
@pytest.mark.parametrize("functional", ["LDA", "PBE"])
def test_kernel_is_the_derivative_of_the_potential(functional, rng):
    water = serial_water(functional)
    model, pairs = water.model, water.arrays.pairs
    density = reference_density(water)
    change = density_of_pairs(water.dense_modes, pairs, 1e-2 * pairs.coefficients(random_density_matrix(rng, pairs)))

    def potential(t):
        return model.term(ExchangeCorrelation).evaluate(Field(model.grid, density.local + t * change.local))[1].local

    h = 2e-3
    numeric = (8 * (potential(h) - potential(-h)) - (potential(2 * h) - potential(-2 * h))) / (12 * h)
    exact = model.term(ExchangeCorrelation).kernel(density).apply(change).local
    weight = density.local  # what a potential does is weighted by the density
    assert np.abs(exact * weight).max() > 1e-4
    np.testing.assert_allclose(exact * weight, numeric * weight, atol=1e-8)


@pytest.mark.serial
@pytest.mark.parametrize("boundary", ["isolated", "periodic"])
def test_folding_changes_no_integral(boundary):
    water = serial_water("LDA", boundary)
    pairs, model = water.arrays.pairs, water.model
    integrals = PairIntegrals(water.dense_modes, pairs, np.array([signs for signs, _ in water.trained.mirrors]))
    assert integrals.all_axes == (1, 2) and integrals.kept_axes == (2,)
    potential = model.term(LocalPotential).restricted(("H",)).evaluate(np.array([[1.1, 1.3, 0.0]]))
    whole = integrals.elements([potential])
    np.testing.assert_allclose(integrals.elements([potential], (2,)), whole, atol=1e-12)
    np.testing.assert_allclose(whole[0], pairs.packed(water.dense_modes.matrix_elements(potential)), atol=1e-12)
    symmetric = model.term(LocalPotential).restricted(("O",)).evaluate(np.zeros((1, 3)))
    part = pairs.classes[0]
    np.testing.assert_allclose(
        integrals.elements([symmetric], (1, 2), part), integrals.elements([symmetric])[:, part], atol=1e-12
    )
    assert np.abs(integrals.elements([potential], (1, 2)) - whole).max() > 1e-3


@pytest.mark.serial
def test_table_of_a_mirror_image_equals_its_own():
    water = serial_water()
    arrays, model = water.arrays, water.model
    alone = Compiler(model, water.modes, water.dense_modes, arrays.pairs, np.zeros(len(arrays.pairs)), arrays.boxes)
    second = arrays.atoms[1]
    assert second.image.source == arrays.atoms[0].index and second.local.size == 0
    own = replace(second, local=alone._local_table(second.index, second.box, Countdown(alone.log, 10**4, "table")), image=None)
    positions, d = geometry(*UNSEEN[0]), arrays.pairs.coefficients(water.training.density_matrices_smm[1])
    values, gradients = [], []
    for atoms in (arrays.atoms, [arrays.atoms[0], own]):
        tables, gradient = PositionTables(atoms, arrays.pairs.classes), np.zeros((1, 3, 3))
        weights, slopes, _ = tables.weights(positions[None])
        values.append(tables.local(weights))
        tables.add_gradient(slopes, d[None], gradient)
        gradients.append(gradient)
    np.testing.assert_allclose(values[0], values[1], atol=1e-11)
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-10)


@pytest.mark.serial
def test_tables_between_nodes(rng):
    water = serial_water()
    energy, grid = water.energy(), GridReducedModel(water.model, water.modes)
    lower, upper = (np.array([getattr(box, name) for box in water.arrays.boxes]) for name in ("lower_v", "upper_v"))
    for _ in range(3):
        positions = lower + rng.uniform(size=(3, 3)) * (upper - lower)
        without_xc = energy.place(positions).linear_p - energy.place(water.at_nodes(0, 0)).linear_p
        matrices = [grid.place(at).linear_mm for at in (positions, water.at_nodes(0, 0))]
        exact = water.arrays.pairs.packed(matrices[0] - matrices[1])
        assert np.abs(exact).max() > 1e-2
        np.testing.assert_allclose(without_xc, exact, atol=1e-6)


@pytest.mark.serial
@pytest.mark.parametrize("functional", ["LDA", "PBE"])
def test_quadrature_reproduces_the_remainder_on_its_training_densities(functional):
    water = serial_water(functional)
    quadrature, energy = water.arrays.quadrature, water.energy()
    assert (quadrature.weights_q > 0).all() and len(quadrature.weights_q) <= 40
    errors, sizes = [], []
    for density_matrix in water.training.density_matrices_smm:
        rest, _ = exact_remainder(water, density_matrix)
        errors.append(abs(energy._rest(density_matrix)[0] - rest))
        sizes.append(abs(rest))
    assert max(errors) < 0.05 * max(sizes)


@pytest.mark.serial
def test_more_points_are_better():
    water = serial_water()
    matrices = list(water.training.density_matrices_smm)
    pairs = water.arrays.pairs
    reference = np.mean([pairs.coefficients(matrix) for matrix in matrices], axis=0)
    builder = QuadratureBuilder(water.model, water.dense_modes, pairs, reference)
    errors = []
    for points in (10, 60):
        quadrature = builder.build(matrices, points)
        assert 0 < len(quadrature.weights_q) <= points
        remainder = Remainder(water.model.functional, quadrature.rho0_q, None)
        rho = [2 * np.einsum("qm,mn,qn->q", quadrature.modes_qm, p, quadrature.modes_qm) for p in matrices]
        values = np.array([quadrature.weights_q @ remainder.evaluate(r)[0] for r in rho])
        errors.append(np.abs(values - [exact_remainder(water, p)[0] for p in matrices]).max())
    assert errors[1] < 0.2 * errors[0]


@pytest.mark.serial
def test_non_negative_least_squares(rng):
    matrix = rng.uniform(size=(30, 12))
    weights = np.where(np.arange(12) % 3 == 0, rng.uniform(0.5, 1.0, size=12), 0.0)
    np.testing.assert_allclose(early_stopped_nnls(matrix, matrix @ weights, 12), weights, atol=1e-10)
    fewer = early_stopped_nnls(matrix, matrix @ rng.normal(size=12), 3)
    assert (fewer >= 0).all() and np.count_nonzero(fewer) <= 3


@pytest.mark.serial
def test_dipole_is_that_of_the_density(rng):
    water = serial_water()
    density_matrix = random_density_matrix(rng, water.arrays.pairs)
    positions = water.at_nodes(3, 4)
    density = density_of_pairs(water.dense_modes, water.arrays.pairs, water.arrays.pairs.coefficients(density_matrix))
    z, y, x = water.model.grid.local_coordinates
    electrons = [Field(water.model.grid, density.local * axis).integrate() for axis in (x, y, z)]
    expected = water.model.valences_a @ positions - electrons
    np.testing.assert_allclose(water.energy().dipole(positions, density_matrix), expected, atol=1e-11)


@pytest.mark.serial
def test_warm_electrons_are_refused():
    water = serial_water()
    water.model.electronic_temperature = 1e-3
    try:
        with pytest.raises(ConfigError, match="electronic_temperature"):
            compile_again(water)
    finally:
        water.model.electronic_temperature = 0.0


def compile_again(water):
    frame, basis = make_frame(water.model.molecule), water.trained.basis
    return compile_model(water.model, basis.modes, basis.parities_mg, water.trained.mirrors, water.training, frame)


def test_any_number_of_ranks_compiles_the_same_energy(comm, serial_comm):
    options = {"nodes": 4, "points": 25, "densities": 0}
    one, other = compile_water(comm, **options), compile_water(serial_comm, **options)
    positions, values = one.at_nodes(5, 9), []
    for water in (one, other):
        values.append(water.solver().solve(water.energy().place(positions)).energy)
    assert values[0] == pytest.approx(values[1], abs=2e-8)
    kinds = [(len(w.arrays.pairs), len(w.arrays.atoms), len(w.arrays.interaction.blocks)) for w in (one, other)]
    assert kinds[0] == kinds[1]
    replicas = comm.allgather(one.arrays.linear_p.tobytes())
    assert len(set(replicas)) == 1


@pytest.mark.serial
@pytest.mark.parametrize("functional", ["LDA", "PBE"])
def test_exchanging_the_hydrogens_changes_no_energy(functional):
    water = serial_water(functional)
    solver = water.solver(1e-11)
    one, other = (solver.solve(solver.energy.place(geometry(*bonds, 0.04))) for bonds in ((1.87, 1.78), (1.78, 1.87)))
    assert abs(one.energy - solver.solve(solver.energy.place(geometry(1.87, 1.80, 0.04))).energy) > 1e-5
    assert one.energy == pytest.approx(other.energy, abs=1e-12)
