"""The energy of a learned-grid model: that of the same orbitals on the grid, and its own exact derivatives."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.rom.learned.fitted_start import fit_one
from mpiqmd.rom.learned.grid_solve import GridEnergy
from mpiqmd.rom.learned.packed import pad
from mpiqmd.rom.learned.start import Start
from tests.helpers.learned_water import RANK, loose_water, serial_water
from tests.helpers.oracles import position_gradient
from tests.helpers.tiny_water import UNSEEN, geometry

pytestmark = pytest.mark.serial

CASES = [("LDA", "isolated"), ("PBE", "isolated"), ("LDA", "periodic"), ("LDA", "isolated", "doubled")]
CASES += [(functional, boundary, "cores") for functional in ("LDA", "PBE") for boundary in ("isolated", "periodic")]
LDA_ERRORS, GGA_ERRORS = (1e-7, 3e-5), (2e-6, 8e-5)
"""What a few samples leave on a grid of 20 points a side: of energies (Ha) and gradients (Ha/bohr)."""


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def water(request):
    return serial_water(*request.param)


DIPOLE_ERROR = 3e-5
ROTATION = Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()


def unseen_errors(water):
    """What is allowed."""
    return GGA_ERRORS if water.model.functional.uses_gradient else LDA_ERRORS


def orbitals_of(water, found):
    """Orbitals over the modes, orthonormal columns, of the first minimum."""
    subspaces = water.arrays.subspaces
    (orbitals_nk,), _ = subspaces.orthonormal(found.latent_bd[:, : len(subspaces)])
    return subspaces.active_mk @ orbitals_nk.T


def minimum(water, point):
    """An unseen geometry and what the solver finds there."""
    positions_av = geometry(*point)
    return positions_av, water.solver().solve_batch(water.energy.place_batch(positions_av[None]))


@pytest.mark.parametrize("point", UNSEEN)
def test_the_energy_is_that_of_the_same_orbitals_on_the_grid(water, point):
    positions_av, found = minimum(water, point)
    orbitals_mn = orbitals_of(water, found)
    np.testing.assert_allclose(orbitals_mn.T @ orbitals_mn, np.eye(4), atol=1e-10)
    exact, _ = GridEnergy(water.model, water.compiler.modes.orbitals).evaluate(water.model.place(positions_av), orbitals_mn)
    assert found.energies_b[0] == pytest.approx(exact, abs=unseen_errors(water)[0])


@pytest.mark.parametrize("point", UNSEEN)
def test_the_minimum_is_that_of_the_modes_on_the_grid(water, point):
    positions_av, found = minimum(water, point)
    reduced = water.trained.rom(rank=RANK, tolerance=1e-10).solve(positions_av)
    assert found.energies_b[0] == pytest.approx(reduced.energy, abs=unseen_errors(water)[0])
    moving = [a for a, box in enumerate(water.arrays.boxes) if box.axes]
    np.testing.assert_allclose(found.gradient_bav[0][moving, :2], reduced.gradient_av[moving, :2], atol=unseen_errors(water)[1])


def test_at_a_minimum_the_energy_on_the_grid_has_no_slope_either(water, rng):
    """In no direction: quadratures that are right at minima only put them in the wrong place."""
    subspaces, step, largest = water.arrays.subspaces, 1e-3, 1e-4 if water.model.functional.uses_gradient else 3e-5
    for point in UNSEEN:
        positions_av, found = minimum(water, point)
        directions_jd = rng.normal(size=(4, len(subspaces)))
        directions_jd /= np.linalg.norm(directions_jd, axis=1)[:, None]
        for direction_d in directions_jd:
            moved_sd = found.latent_bd[:, : len(subspaces)] + step * np.stack([direction_d, -direction_d])
            orbitals_snk, _ = subspaces.orthonormal(moved_sd)
            problem, states = water.model.place(positions_av), water.compiler.states
            after, before = (
                GridEnergy(states.model, states.modes.orbitals).evaluate(problem, subspaces.active_mk @ each.T)[0]
                for each in orbitals_snk
            )
            assert abs(after - before) < 2.0 * step * largest


def test_slopes_are_derivatives_in_the_latent_coordinates(water, rng):
    positions_av, found = minimum(water, UNSEEN[0])
    energy, placed = water.energy, water.energy.place_batch(positions_av[None])
    count = len(water.arrays.subspaces)
    latent_d = found.latent_bd[0] + pad(0.02 * rng.normal(size=count))
    slopes_d, h = energy.evaluate(placed, latent_d[None]).slopes_bd[0], 2e-3
    for d in range(count):
        step_d = h * np.eye(len(latent_d))[d]
        one, two = ([energy.evaluate(placed, (latent_d + s * k * step_d)[None]).energies_b[0] for s in (1, -1)] for k in (1, 2))
        numeric = (8 * (one[0] - one[1]) - (two[0] - two[1])) / (12 * h)
        assert slopes_d[d] == pytest.approx(numeric, abs=2e-9)
    assert np.abs(slopes_d).max() > 1e-3


def test_gradients_at_fixed_orbitals_are_derivatives_in_the_positions(water, rng):
    positions_av, found = minimum(water, UNSEEN[1])
    latent_bd = found.latent_bd + pad(0.02 * rng.normal(size=(1, len(water.arrays.subspaces))))
    energy = water.energy
    gradient_av = energy.evaluate(energy.place_batch(positions_av[None]), latent_bd).gradient_bav[0]
    for a, box in enumerate(water.arrays.boxes):
        for v in box.axes:

            def along(step, a=a, v=v):
                moved_av = positions_av.copy()
                moved_av[a, v] += step
                return energy.evaluate(energy.place_batch(moved_av[None]), latent_bd).energies_b[0]

            h = 2e-3
            numeric = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
            assert gradient_av[a, v] == pytest.approx(numeric, abs=1e-8)


@pytest.mark.parametrize("cores", [False, True], ids=["plain", "cores"])
def test_gradients_with_moving_projectors_are_derivatives_in_the_positions(rng, cores):
    water = loose_water(cores)
    assert len(water.arrays.cores) == 3 * cores
    assert [len(ion.coupling_pp) for ion in water.arrays.ions] == [1, 0, 0]
    energy, mean_av = water.energy, water.training.positions_sav.mean(axis=0)
    positions_av = mean_av + rng.uniform(-0.02, 0.02, size=(3, 3))
    latent_bd = water.solver().solve_batch(energy.place_batch(positions_av[None])).latent_bd
    latent_bd += pad(0.02 * rng.normal(size=(1, len(water.arrays.subspaces))))

    def at(moved_av):
        return energy.evaluate(energy.place_batch(moved_av[None]), latent_bd).energies_b[0]

    gradient_av = energy.evaluate(energy.place_batch(positions_av[None]), latent_bd).gradient_bav[0]
    np.testing.assert_allclose(gradient_av, position_gradient(at, positions_av, 1e-3), atol=1e-8)
    assert np.abs(gradient_av).max() > 1e-3


@pytest.mark.parametrize("cores", [False, True], ids=["plain", "cores"])
def test_the_energy_with_moving_projectors_is_that_of_the_same_orbitals_on_the_grid(cores):
    water = loose_water(cores)
    positions_av = water.training.positions_sav[3]
    found = water.solver().solve_batch(water.energy.place_batch(positions_av[None]))
    exact, _ = GridEnergy(water.model, water.compiler.modes.orbitals).evaluate(
        water.model.place(positions_av), orbitals_of(water, found)
    )
    assert found.energies_b[0] == pytest.approx(exact, abs=1e-5)


def test_orbitals_of_the_kernel_are_the_plain_form(water, rng):
    subspaces = water.arrays.subspaces
    latent_bd = 0.1 * rng.normal(size=(5, len(subspaces)))
    plain_bnk, plain_inverse_bnn = subspaces.orthonormal(latent_bd)
    orbitals_bnk, inverse_bnn = water.energy.orbitals.orthonormal(pad(latent_bd))
    np.testing.assert_allclose(orbitals_bnk[:, :, : plain_bnk.shape[2]], plain_bnk, atol=1e-13)
    np.testing.assert_allclose(inverse_bnn, plain_inverse_bnn, atol=1e-13)
    assert np.abs(plain_bnk - subspaces.origin_nk).max() > 1e-3 and (orbitals_bnk[:, :, plain_bnk.shape[2] :] == 0.0).all()


def test_forces_are_minus_the_gradient_in_the_laboratory(water):
    owner, positions_av = water.owner(), geometry(*UNSEEN[0]) @ ROTATION.T + 0.7
    forces_av = owner.at(positions_av).forces_av
    numeric = position_gradient(lambda r: owner.at(r).energy, positions_av, 1e-3)
    np.testing.assert_allclose(forces_av, -numeric, atol=1e-8)
    assert np.abs(forces_av).max() > 1e-3
    np.testing.assert_allclose(forces_av.sum(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(np.cross(positions_av, forces_av).sum(axis=0), 0, atol=1e-13)


def test_forces_far_from_convergence_are_still_the_gradient():
    """The prediction's own derivative belongs to them."""
    water = serial_water()
    coefficients_td = water.arrays.start.coefficients_td.copy()
    coefficients_td[1] += 0.01
    start = Start(replace(water.arrays.start, coefficients_td=coefficients_td))
    positions_av, energy = geometry(*UNSEEN[0]), water.energy
    placed = energy.place_batch(positions_av[None])
    latent_bd, terms_bt = start.predict(positions_av[None])
    evaluated = energy.evaluate(placed, latent_bd)
    gradient_bav = evaluated.gradient_bav
    without = gradient_bav.copy()
    start.add_gradient(terms_bt, evaluated.slopes_bd, gradient_bav)

    def at(moved_av):
        moved_bav = moved_av[None]
        return energy.evaluate(energy.place_batch(moved_bav), start.predict(moved_bav)[0]).energies_b[0]

    numeric = position_gradient(at, positions_av, 1e-3)
    for a, box in enumerate(water.arrays.boxes):
        np.testing.assert_allclose(gradient_bav[0, a, box.axes], numeric[a, box.axes], atol=1e-8)
    assert np.abs(gradient_bav - without).max() > 1e-4


def test_the_dipole_is_that_of_the_density_on_the_grid(water):
    positions_av, found = minimum(water, UNSEEN[2])
    orbitals_mn = orbitals_of(water, found)
    space = water.model.space(water.trained.basis.modes).combine(orbitals_mn)
    expected_v = water.model.place(positions_av).dipole(Electrons(space, np.eye(4)).density)
    np.testing.assert_allclose(found.dipoles_bv[0], expected_v, atol=DIPOLE_ERROR)
    # where only one evaluation is made, the last step's share is known to first order
    loose = water.solver(tolerance=1e-3).solve_batch(water.energy.place_batch(positions_av[None]))
    np.testing.assert_allclose(loose.dipoles_bv[0], expected_v, atol=DIPOLE_ERROR)


def test_a_projector_density_matrix_is_returned_over_all_modes(water):
    _, found = minimum(water, UNSEEN[0])
    orbitals_mn = orbitals_of(water, found)
    matrix_mm = water.arrays.subspaces.density_matrix(orbitals_mn.T @ water.arrays.subspaces.active_mk)
    assert matrix_mm.shape == (RANK, RANK)
    np.testing.assert_allclose(matrix_mm @ matrix_mm, matrix_mm, atol=1e-10)
    assert np.trace(matrix_mm) == pytest.approx(4.0, abs=1e-10)


def test_terms_that_samples_do_not_tell_from_others_are_left_out(rng):
    """Mixtures of few geometries span fewer coordinates than the molecule has: terms of the others are not told apart."""
    terms, latent = rng.normal(size=(50, 20)), rng.normal(size=(20, 3))
    terms[:, 15:] = terms[:, :5] * (1.0 + 1e-14)
    found = fit_one(terms, terms @ latent, np.ones(50))
    np.testing.assert_allclose(terms @ found, terms @ latent, atol=1e-10)
    assert np.abs(found).max() < 10.0
    terms[:, 15:] = rng.normal(size=(50, 5))
    np.testing.assert_allclose(fit_one(terms, terms @ latent, np.ones(50)), latent, atol=1e-10)
