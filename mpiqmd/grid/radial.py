"""Band-limited radial functions, evaluated anywhere with their derivative.

A radial function of angular momentum l is represented on a grid of spacing h by the part of its spectrum that the grid
can carry.  Once per species its spherical Bessel transform is multiplied by a smooth window S(q),

    f(q) = ∫ r² f(r) j_l(qr) dr,      g(r) = f_S(r) / r^l = (2/π) ∫ q² S(q) f(q) j_l(qr) / r^l dq,

and g is splined, so that values and gradients can be had at any distance and forces are the exact derivatives of the
sampled functions.  Without the window, features narrower than h would be sampled by luck.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import erfc, spherical_jn

WINDOW_CENTRE = 1.4
"""Where the window ``S(q) = erfc((q - q_c) / Δ) / 2`` is one half, in units of the Nyquist wave number π/h."""
WINDOW_WIDTH = 0.2
"""Its width Δ in the same units; being analytic, it gives tails that fall as a Gaussian."""
NEGLIGIBLE = 1e-9
"""Relative size below which the tail of a windowed function is cut."""
MESH_STEP = 0.005
"""Step of the spline, bohr."""


class RadialFunction:
    """``f(r) = g(r) r^l`` with g an even smooth function, zero beyond ``radius``.

    Not collective; identical on every rank.

    Parameters
    ----------
    angular_momentum
        l.
    mesh_r
        Uniform mesh from 0 to ``radius``, bohr.
    reduced_r
        g on it, in the unit of f per bohr^l.

    Attributes
    ----------
    inverse_step
        One over the step of the mesh, 1/bohr.
    coefficients_ic
        Spline of g: powers 0 to 3 of the distance from the beginning of each interval, shape (intervals, 4).
    """

    def __init__(self, angular_momentum: int, mesh_r: np.ndarray, reduced_r: np.ndarray) -> None:
        self.angular_momentum = angular_momentum
        self.radius = float(mesh_r[-1])
        self.inverse_step = float(1.0 / (mesh_r[1] - mesh_r[0]))
        spline = CubicSpline(mesh_r, reduced_r, bc_type=((1, 0.0), (1, 0.0)))
        self.coefficients_ic = np.ascontiguousarray(spline.c.T[:, ::-1])

    def reduced(self, distances: np.ndarray) -> np.ndarray:
        """Return ``g(r)`` in the unit of f per bohr^l, of the shape of the distances (bohr); zero beyond the radius."""
        c, t = self._locate(distances)
        return c[..., 0] + t * (c[..., 1] + t * (c[..., 2] + t * c[..., 3]))

    def reduced_derivative(self, distances: np.ndarray) -> np.ndarray:
        """Return ``dg/dr`` in the unit of g per bohr, of the shape of the distances (bohr); zero beyond the radius."""
        c, t = self._locate(distances)
        return c[..., 1] + t * (2.0 * c[..., 2] + 3.0 * t * c[..., 3])

    def _locate(self, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the spline's coefficients, shape (..., 4), zero beyond the radius, and the distances from its knots, bohr."""
        scaled = distances * self.inverse_step
        index = scaled.astype(np.intp)
        inside = index < len(self.coefficients_ic)
        index[~inside] = 0
        coefficients = self.coefficients_ic[index]
        coefficients[~inside] = 0.0
        return coefficients, (scaled - index) / self.inverse_step


def band_limited(mesh_r: np.ndarray, values_r: np.ndarray, angular_momentum: int, spacing: float) -> RadialFunction:
    """Return the part of a radial function that a grid of this spacing carries.  Not collective.

    Parameters
    ----------
    mesh_r
        Uniform radial mesh from 0, bohr, at whose end the function has vanished.
    values_r
        f(r) on it.
    angular_momentum
        l of the spherical harmonic that multiplies it.
    spacing
        Largest spacing of the grid, bohr.
    """
    # The window's cut lets the function ring beyond its mesh; and it is below 1e-12 from 5 widths beyond its centre on.
    # Waves are twice as dense as a function of this reach asks for.
    nyquist = np.pi / spacing
    reach = float(mesh_r[-1]) + 14.0 * spacing
    waves = np.arange(0.0, (WINDOW_CENTRE + 5.0 * WINDOW_WIDTH) * nyquist, 0.5 * np.pi / reach)
    window = 0.5 * erfc((waves / nyquist - WINDOW_CENTRE) / WINDOW_WIDTH)
    transform = spherical_jn(angular_momentum, np.outer(waves, mesh_r)) @ (_simpson(mesh_r) * mesh_r**2 * values_r)
    weights = (2.0 / np.pi) * (waves[1] - waves[0]) * waves ** (2 + angular_momentum) * window * transform
    fine_r = np.arange(0.0, reach, MESH_STEP)
    reduced = _reduced_bessel(angular_momentum, np.outer(fine_r, waves)) @ weights
    size = np.abs(reduced * fine_r**angular_momentum)
    last = int(np.nonzero(size >= NEGLIGIBLE * size.max())[0][-1])
    return RadialFunction(angular_momentum, fine_r[: last + 2], _taper(reduced[: last + 2]))


def _simpson(mesh_r: np.ndarray) -> np.ndarray:
    """Return Simpson weights on a uniform mesh (the last interval by the trapezoidal rule if it is left over)."""
    step, n = mesh_r[1] - mesh_r[0], len(mesh_r)
    weights = np.zeros(n)
    last = n if n % 2 else n - 1
    weights[0:last:2] = 2.0
    weights[1:last:2] = 4.0
    weights[0] = weights[last - 1] = 1.0
    weights *= step / 3.0
    if last != n:
        weights[-2:] += 0.5 * step
    return weights


def _taper(values: np.ndarray) -> np.ndarray:
    """Return the values with a zero at the end of the mesh."""
    values = values.copy()
    values[-1] = 0.0
    return values


def _reduced_bessel(order: int, x: np.ndarray) -> np.ndarray:
    """Return ``j_l(x) / x^l``, finite at 0."""
    double_factorial = float(np.prod(np.arange(2 * order + 1, 0, -2)))
    # The series' next term is below 1e-10 there, where the quotient would lose digits to cancellation.
    small = x < 1e-2
    safe = np.where(small, 1.0, x)
    series = (1.0 - x**2 / (2.0 * (2 * order + 3))) / double_factorial
    return np.where(small, series, spherical_jn(order, safe) / safe**order)
