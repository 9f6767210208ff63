"""Exchange and correlation: closed forms, limits, derivatives, refusals."""

import ctypes

import numpy as np
import pytest

from mpiqmd.errors import ConfigError
from mpiqmd.grid import Field, Grid
from mpiqmd.kohnsham.functional import SMALLEST_DENSITY, Functional
from mpiqmd.kohnsham.libxc import library, version
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from tests.helpers.oracles import everywhere, largest, local_part, on_one_rank, smooth_orbitals

RHO = np.array([1e-4, 3e-3, 0.02, 0.3, 1.7, 12.0])
SIGMA = np.array([1e-7, 2e-4, 3e-3, 0.4, 2.0, 90.0])
RADIUS = (3 / (4 * np.pi * RHO)) ** (1 / 3)
SLATER = -0.75 * (3 / np.pi) ** (1 / 3) * RHO ** (4 / 3)


def pw92(rs):
    """Perdew and Wang, Phys. Rev. B 45, 13244 (1992), equation 10, unpolarised."""
    a, alpha, betas = 0.031091, 0.21370, (7.5957, 3.5876, 1.6382, 0.49294)
    series = sum(beta * rs ** (0.5 * (k + 1)) for k, beta in enumerate(betas))
    return -2 * a * (1 + alpha * rs) * np.log1p(1 / (2 * a * series))


def teter93(rs):
    """Goedecker, Teter, Hutter, Phys. Rev. B 54, 1703 (1996), appendix."""
    above = (0.4581652932831429, 2.217058676663745, 0.7405551735357053, 0.01968227878617998)
    below = (0.0, 1.0, 4.504130959426697, 1.110667363742916, 0.02359291751427506)
    return -np.polyval(above[::-1], rs) / np.polyval(below[::-1], rs)


def fourth_order(function, step):
    """The derivative by central differences of order four."""
    return (8 * (function(step) - function(-step)) - (function(2 * step) - function(-2 * step))) / (12 * step)


@pytest.mark.serial
def test_slater_exchange():
    energy, v_rho, v_sigma = Functional("lda_x").evaluate(RHO, None)
    assert energy == pytest.approx(SLATER, rel=1e-12)
    assert v_rho == pytest.approx(4 / 3 * SLATER / RHO, rel=1e-12)
    assert v_sigma is None


@pytest.mark.serial
def test_pw92_correlation():
    energy, _, _ = Functional("lda_c_pw").evaluate(RHO, None)
    assert energy == pytest.approx(RHO * pw92(RADIUS), rel=2e-5)
    quantum_monte_carlo = {2.0: -0.0451, 5.0: -0.0282, 10.0: -0.0186}  # Ceperley and Alder, 1980
    for rs, value in quantum_monte_carlo.items():
        rho = np.array([3 / (4 * np.pi * rs**3)])
        assert Functional("lda_c_pw").evaluate(rho, None)[0] / rho == pytest.approx(value, abs=4e-4)


@pytest.mark.serial
def test_teter93():
    energy, _, _ = Functional("LDA").evaluate(RHO, None)
    assert energy == pytest.approx(RHO * teter93(RADIUS), rel=1e-9)
    assert energy == pytest.approx(Functional("PW92").evaluate(RHO, None)[0], rel=2e-3)


@pytest.mark.serial
def test_pbe_exchange_is_the_enhancement_of_slater():
    kappa, mu = 0.804, 0.06672455060314922 * np.pi**2 / 3
    squares = SIGMA / (4 * (3 * np.pi**2) ** (2 / 3) * RHO ** (8 / 3))
    enhancement = 1 + kappa - kappa / (1 + mu * squares / kappa)
    assert np.ptp(enhancement) > 0.1
    energy, _, _ = Functional("gga_x_pbe").evaluate(RHO, SIGMA)
    assert energy == pytest.approx(SLATER * enhancement, rel=1e-8)


@pytest.mark.serial
def test_pbe_without_gradient_is_the_lda():
    uniform = Functional("PBE").evaluate(RHO, np.zeros_like(RHO))
    lda = Functional("lda_x+lda_c_pw_mod").evaluate(RHO, None)
    assert uniform[0] == pytest.approx(lda[0], rel=1e-8)
    assert uniform[1] == pytest.approx(lda[1], rel=1e-8)
    with_gradient = Functional("PBE").evaluate(RHO, SIGMA)
    assert np.abs(with_gradient[0] - lda[0]).max() > 1e-3


@pytest.mark.serial
@pytest.mark.parametrize("name", ["LDA", "PW92", "PBE", "revPBE", "BLYP"])
def test_potentials_are_derivatives_of_the_energy(name):
    functional = Functional(name)
    _, v_rho, v_sigma = functional.evaluate(RHO, SIGMA)
    for values, other, derivative in ((RHO, SIGMA, v_rho), (SIGMA, RHO, v_sigma)):
        if derivative is None:
            continue
        step = 1e-4 * values
        ahead, behind = values + step, values - step
        pairs = [(ahead, other), (behind, other)] if values is RHO else [(other, ahead), (other, behind)]
        plus, minus = (functional.evaluate(*pair)[0] for pair in pairs)
        assert (plus - minus) / (2 * step) == pytest.approx(derivative, rel=1e-5)


@pytest.mark.serial
@pytest.mark.parametrize("name", ["LDA", "PBE"])
def test_second_derivatives_are_those_of_the_first(name):
    functional = Functional(name)
    second = functional.second_derivatives(RHO, SIGMA)
    step = 1e-4 * RHO
    _, plus_rho, plus_sigma = functional.evaluate(RHO + step, SIGMA)
    _, minus_rho, minus_sigma = functional.evaluate(RHO - step, SIGMA)
    assert (plus_rho - minus_rho) / (2 * step) == pytest.approx(second["rr"], rel=1e-4)
    if not functional.uses_gradient:
        assert not second["rs"].any() and not second["ss"].any()
        return
    assert (plus_sigma - minus_sigma) / (2 * step) == pytest.approx(second["rs"], rel=1e-4)
    step = 1e-4 * SIGMA
    slopes = [functional.evaluate(RHO, SIGMA + sign * step)[2] for sign in (1, -1)]
    assert (slopes[0] - slopes[1]) / (2 * step) == pytest.approx(second["ss"], rel=1e-4)


@pytest.mark.serial
def test_empty_space_carries_nothing():
    rho = np.array([0.0, -1e-18, SMALLEST_DENSITY, 0.1])
    for name in ("LDA", "PBE"):
        energy, v_rho, v_sigma = Functional(name).evaluate(rho, np.full(4, 1e-3))
        for array in (energy, v_rho, *([] if v_sigma is None else [v_sigma])):
            assert not array[:3].any() and array[3] != 0


@pytest.mark.serial
@pytest.mark.parametrize(
    "name, full, family",
    [
        ("lda", "lda_xc_teter93", "LDA"),
        ("LDA_XC_TETER93", "lda_xc_teter93", "LDA"),
        ("pw92", "lda_x+lda_c_pw", "LDA"),
        ("Pbe", "gga_x_pbe+gga_c_pbe", "PBE"),
        ("REVPBE", "gga_x_pbe_r+gga_c_pbe", "REVPBE"),
        ("blyp", "gga_x_b88+gga_c_lyp", "BLYP"),
        ("lda_x", "lda_x", "LDA"),
        ("gga_x_pbe_sol + gga_c_pbe_sol", "gga_x_pbe_sol+gga_c_pbe_sol", "PBESOL"),
        ("gga_c_pbe+gga_x_rpbe", "gga_x_rpbe+gga_c_pbe", "RPBE"),
        ("gga_c_pbe+GGA_X_PBE", "gga_x_pbe+gga_c_pbe", "PBE"),
        ("lda_c_pw + lda_x", "lda_x+lda_c_pw", "LDA"),
        ("gga_c_p86+gga_x_b88", "gga_x_b88+gga_c_p86", "gga_x_b88+gga_c_p86"),
    ],
)
def test_names(name, full, family):
    functional = Functional(name)
    assert (functional.name, functional.family) == (full, family)
    assert functional.uses_gradient == ("gga" in full)


@pytest.mark.serial
@pytest.mark.parametrize("name", ["PBE7", "mgga_x_scan", "hyb_gga_xc_b3lyp", ""])
def test_what_cannot_be_evaluated_is_refused(name):
    with pytest.raises(ConfigError, match="functional"):
        Functional(name)


@pytest.mark.serial
@pytest.mark.parametrize(
    "name, words",
    [
        ("gga_x_lb+lda_c_pw", "'gga_x_lb' of libxc .* is a potential without an energy"),
        ("lda_xc_tih", "a potential without an energy"),
        ("gga_xc_vv10", "non-local correlation, which is not there"),
        ("lda_x_2d+lda_c_2d_amgb", "for one or two dimensions"),
        ("lda_xc_1d_ehwlrg_1", "for one or two dimensions"),
        ("lda_k_tf", "a kinetic-energy functional"),
        ("gga_k_vw", "a kinetic-energy functional"),
        ("mgga_c_tpss", "neither an LDA nor a GGA"),
        ("hyb_gga_xc_pbeh", "a hybrid"),
        ("gga_x_pbe+gga_x_b88", "counted twice"),
        ("gga_x_pbe+gga_x_pbe", "counted twice"),
        ("lda_xc_teter93+lda_x", "counted twice"),
        ("gga_x_pbe+gga_c_pbe+lda_c_pw", "counted twice"),
        ("gga_x_pbe+", "has no functional ''"),
        ("101", "has no functional '101'"),
    ],
)
def test_what_libxc_knows_but_a_grid_does_not_is_refused_with_its_reason(name, words):
    with pytest.raises(ConfigError, match=words):
        Functional(name)


def names():
    """All functionals of this library, whether they can be evaluated here or not."""
    c = library()
    numbers = (ctypes.c_int * c.xc_number_of_functionals())()
    c.xc_available_functional_numbers(numbers)
    # the library allots each name and leaves it to its caller, who has a few kilobytes to spare
    return [ctypes.string_at(c.xc_functional_get_name(number)).decode() for number in numbers]


@pytest.mark.serial
@pytest.mark.parametrize("name", names())
def test_every_name_of_libxc_is_refused_or_its_potential_is_the_derivative(name):
    try:
        functional = Functional(name)
    except ConfigError as refusal:
        assert "is needed. Choose another" in str(refusal)
        return
    energy, v_rho, v_sigma = functional.evaluate(RHO, SIGMA)
    assert all(np.isfinite(values).all() for values in (energy, v_rho) + (() if v_sigma is None else (v_sigma,)))
    along_rho = fourth_order(lambda step: functional.evaluate(RHO + step, SIGMA)[0], 1e-4 * RHO)
    assert along_rho * RHO / SLATER == pytest.approx(v_rho * RHO / SLATER, abs=1e-6, rel=1e-5)
    if v_sigma is not None:
        along_sigma = fourth_order(lambda step: functional.evaluate(RHO, SIGMA + step)[0], 1e-4 * SIGMA)
        assert along_sigma * SIGMA / SLATER == pytest.approx(v_sigma * SIGMA / SLATER, abs=1e-6, rel=1e-5)
    assert functional.remark.split()[:1] == {"x": ["exchange"], "c": ["correlation"], "xc": []}[name.split("_")[1]]


@pytest.mark.serial
def test_every_name_that_can_be_evaluated_vanishes_with_the_density():
    """No NaN anywhere between a core and empty space, where a grid has most of its points."""
    rng = np.random.default_rng(7)
    rho = 10 ** rng.uniform(-14, 2, 500)
    sigma = 10 ** rng.uniform(-6, 2, 500) * 4 * (3 * np.pi**2) ** (2 / 3) * rho ** (8 / 3)
    for name in names():
        try:
            functional = Functional(name)
        except ConfigError:
            continue
        for values in functional.evaluate(rho, sigma):
            assert values is None or np.isfinite(values).all(), name


@pytest.mark.serial
def test_version_is_a_number():
    assert int(version().split(".")[0]) >= 4


@pytest.mark.parametrize("name", ["LDA", "PBE"])
def test_uniform_density_in_a_periodic_cell(comm, name):
    grid = Grid(comm, (5.0, 6.0, 6.5), (11, 12, 13), order=4, boundary="periodic")
    rho = 0.07
    energy, potential = ExchangeCorrelation(grid, Functional(name)).evaluate(Field(grid, np.full(grid.local_shape, rho)))
    point = Functional(name).evaluate(np.array([rho]), np.zeros(1))
    assert energy == pytest.approx(grid.volume * point[0][0], rel=1e-9)
    assert largest(comm, potential.local - point[1][0]) < 1e-9
    grid.destroy()


@pytest.mark.parametrize("boundary", ["isolated", "periodic"])
@pytest.mark.parametrize("name", ["LDA", "PBE"])
def test_equals_the_serial_one(comm, serial_comm, rng, name, boundary):
    grid = Grid(comm, (5.0, 6.0, 6.5), (11, 12, 13), order=4, boundary=boundary)
    alone = on_one_rank(grid, serial_comm)
    density = smooth_orbitals(grid, rng, 3).density(np.ones(3))
    energy, potential = ExchangeCorrelation(grid, Functional(name)).evaluate(density)
    serial = ExchangeCorrelation(alone, Functional(name)).evaluate(Field(alone, everywhere(density)))
    assert energy == pytest.approx(serial[0], rel=1e-12)
    # v_xc of a GGA amplifies round-off where the density is as good as zero
    weighted = density.local * (potential.local - local_part(grid, serial[1].local))
    assert largest(comm, weighted) < 1e-11
    alone.destroy()
    grid.destroy()
