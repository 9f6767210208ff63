"""Every operator is the derivative of its energy: each term alone, then all together, for arbitrary orbitals.

For real orbitals and a symmetric P, ``dE = 4 Σ_ij P_ij <δφ_i|H|φ_j>``.
"""

import numpy as np
import pytest

from mpiqmd.grid import Field, Grid, Orbitals
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.hamiltonian import Hamiltonian
from mpiqmd.kohnsham.terms.term import DensityTerm
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from tests.helpers.oracles import (
    central_difference,
    gth_model,
    largest,
    random_field,
    random_orbitals,
    smooth_orbitals,
    water,
)

DENSITY_MATRIX = np.array([[0.9, 0.1, -0.05], [0.1, 0.7, 0.2], [-0.05, 0.2, 0.4]])
TERMS = ["kinetic", "local", "nonlocal", "hartree", "xc", "total"]


@pytest.fixture(params=["isolated", "periodic"])
def grid(request, comm):
    grid = Grid(comm, (7.0, 7.5, 8.0), (12, 13, 14), order=4, boundary=request.param)
    yield grid
    grid.destroy()


@pytest.fixture(params=["LDA", "PBE", "PBE, doubled density"])
def problem(request, grid):
    functional, _, doubled = request.param.partition(", ")
    model = gth_model(grid, ("O", "H", "H"), functional, density_refinement=1.5 if doubled else 1.0)
    return model.place(water() + [0.11, -0.23, 0.05])


def energy_of(problem, name, orbitals):
    """The energy of one term, as a functional of orbitals that need not be orthonormal."""
    if name == "total":
        return sum(energy_of(problem, part, orbitals) for part in problem.terms)
    term, electrons = problem.terms[name], Electrons(problem.model.space(orbitals), DENSITY_MATRIX)
    return term.evaluate(electrons.density)[0] if isinstance(term, DensityTerm) else term.energy(electrons)


def hamiltonian_of(problem, name, orbitals):
    """The Hamiltonian of one term alone."""
    density = Electrons(problem.model.space(orbitals), DENSITY_MATRIX).density
    if name == "total":
        return problem.linear.plus(problem.density_terms(density)[1])
    term, alone = problem.terms[name], Hamiltonian(problem.model.laplacian)
    if isinstance(term, DensityTerm):
        alone.add_potential(term.evaluate(density)[1])
    else:
        term.add_to(alone)
    return alone


def operator_of(problem, name, orbitals):
    """``H φ`` of one term as a local block."""
    return hamiltonian_of(problem, name, orbitals).apply(problem.model.space(orbitals)).local


@pytest.mark.parametrize("term", TERMS)
def test_operator_is_the_derivative_of_its_energy(problem, rng, term):
    grid = problem.grid
    orbitals = smooth_orbitals(grid, rng, 3)
    direction = smooth_orbitals(grid, rng, 3)
    numerical = central_difference(
        lambda t: energy_of(problem, term, Orbitals(grid, orbitals.local + t * direction.local)), 1e-3
    )
    applied = Orbitals(grid, operator_of(problem, term, orbitals))
    analytic = 4 * np.sum(DENSITY_MATRIX * direction.gram(applied))
    assert abs(analytic) > 1e-3
    assert analytic == pytest.approx(numerical, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("term", ["kinetic", "local", "nonlocal", "hartree"])
def test_and_so_it_is_for_white_noise(problem, rng, term):
    """The terms without a threshold in the density hold for any functions at all."""
    grid = problem.grid
    orbitals, direction = random_orbitals(grid, rng, 3), random_orbitals(grid, rng, 3)
    numerical = central_difference(
        lambda t: energy_of(problem, term, Orbitals(grid, orbitals.local + t * direction.local)), 1e-2
    )
    analytic = 4 * np.sum(DENSITY_MATRIX * direction.gram(Orbitals(grid, operator_of(problem, term, orbitals))))
    assert abs(analytic) > 1e-3
    assert analytic == pytest.approx(numerical, rel=1e-9)


@pytest.mark.parametrize("term", TERMS)
def test_operator_is_symmetric(problem, rng, term):
    orbitals = smooth_orbitals(problem.grid, rng, 3)
    matrix = orbitals.gram(Orbitals(problem.grid, operator_of(problem, term, orbitals)))
    assert np.abs(matrix).max() > 1e-3
    assert matrix == pytest.approx(matrix.T, abs=1e-11)


@pytest.mark.parametrize("term", TERMS)
def test_matrices_are_those_of_the_operators(problem, rng, term):
    orbitals = smooth_orbitals(problem.grid, rng, 3)
    matrix = hamiltonian_of(problem, term, orbitals).matrix(problem.model.space(orbitals))
    applied = Orbitals(problem.grid, operator_of(problem, term, orbitals))
    assert matrix == pytest.approx(orbitals.gram(applied), abs=1e-11)


def test_these_are_all_terms_that_act_on_electrons(problem):
    assert [*problem.terms, "total"] == [*TERMS[:-1], "ion_ion", "total"]


def test_combined_orbitals_know_what_the_orbitals_knew(problem, rng):
    """Kinetic energies, overlaps and values on the density's grid are carried over, not made again."""
    space, mixing = problem.model.space(smooth_orbitals(problem.grid, rng, 3)), rng.normal(size=(3, 2))
    problem.linear.matrix(space)
    carried = space.combine(mixing)
    afresh = problem.model.space(carried.orbitals)
    assert problem.linear.matrix(carried) == pytest.approx(problem.linear.matrix(afresh), abs=1e-11)
    for term in problem.terms.values():
        if hasattr(term, "projectors"):
            assert carried.overlaps(term.projectors) == pytest.approx(afresh.overlaps(term.projectors), abs=1e-12)
    assert largest(problem.grid.comm, carried.dense.local - afresh.dense.local) < 1e-12


def test_rotated_electrons_are_the_same_electrons(problem, rng):
    orbitals, rotation = smooth_orbitals(problem.grid, rng, 3), np.linalg.qr(rng.normal(size=(3, 3)))[0]
    electrons = Electrons(problem.model.space(orbitals), DENSITY_MATRIX)
    rotated = electrons.rotated(rotation)
    afresh = Electrons(problem.model.space(rotated.orbitals), rotated.density_matrix_nn).density
    assert largest(problem.grid.comm, afresh.local - electrons.density.local) < 1e-12
    natural = Electrons.natural(electrons.space, DENSITY_MATRIX)
    assert (np.diff(natural.occupations_n) < 0).all()
    assert largest(problem.grid.comm, natural.density.local - electrons.density.local) < 1e-12


def test_the_hamiltonian_is_the_sum_of_its_terms(problem, rng):
    orbitals = smooth_orbitals(problem.grid, rng, 3)
    total = operator_of(problem, "total", orbitals)
    parts = sum(operator_of(problem, term, orbitals) for term in TERMS[:-1])
    difference = Orbitals(problem.grid, total - parts).norms().max()
    assert difference < 1e-12 * Orbitals(problem.grid, total).norms().max()


def test_energies_depend_on_the_density_matrix_through_the_operator(problem, rng):
    """``dE/dP = 2 <φ_i|H|φ_j>`` for the density terms: what the minimiser over P relies on."""
    orbitals = smooth_orbitals(problem.grid, rng, 3)
    change = np.array([[0.3, -0.2, 0.1], [-0.2, 0.1, 0.05], [0.1, 0.05, -0.2]])

    space = problem.model.space(orbitals)

    def energy(t):
        return sum(problem.density_terms(Electrons(space, DENSITY_MATRIX + t * change).density)[0].values())

    _, potential = problem.density_terms(Electrons(space, DENSITY_MATRIX).density)
    analytic = Electrons(space, change).expectation(space.dense.matrix_elements(potential))
    assert abs(analytic) > 1e-3
    assert analytic == pytest.approx(central_difference(energy, 1e-3), rel=1e-7)


@pytest.mark.parametrize("name", ["LDA", "PW92", "PBE", "revPBE", "BLYP"])
def test_xc_potential_and_kernel_are_derivatives(grid, rng, name):
    """``∫ v_xc δρ = dE_xc`` and ``∫ δ₁ρ f_xc δ₂ρ = d² E_xc``, for changes of any roughness."""
    xc = ExchangeCorrelation(grid, Functional(name))
    density = smooth_orbitals(grid, rng, 3).density(np.ones(3))
    changes = [Field(grid, density.local * (1 + random_field(grid, rng).local)) for _ in range(2)]

    def moved(t):
        return Field(grid, density.local + t * changes[0].local)

    slope = xc.evaluate(density)[1].inner(changes[0])
    assert abs(slope) > 1e-3
    assert slope == pytest.approx(central_difference(lambda t: xc.evaluate(moved(t))[0], 1e-3), rel=1e-7)
    curvature = changes[1].inner(xc.kernel(density).apply(changes[0]))
    numerical = central_difference(lambda t: xc.evaluate(moved(t))[1].inner(changes[1]), 1e-3)
    assert abs(curvature) > 1e-4
    assert curvature == pytest.approx(numerical, rel=1e-5)


def test_components_of_random_problems_are_the_same_on_one_rank(comm, serial_comm, rng):
    whole = rng.normal(size=(3, 14, 13, 12))
    energies = []
    for ranks in (comm, serial_comm):
        grid = Grid(ranks, (7.0, 7.5, 8.0), (12, 13, 14), order=4, boundary="periodic")
        problem = gth_model(grid, ("O", "H", "H"), "PBE").place(water())
        block = Orbitals(grid, np.ascontiguousarray(whole[(slice(None), *grid.local_slices)]))
        energies.append([energy_of(problem, term, block) for term in TERMS])
        grid.destroy()
    assert energies[0] == pytest.approx(energies[1], rel=1e-11)
