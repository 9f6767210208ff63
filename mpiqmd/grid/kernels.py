"""The few loops over grid points that BLAS does not have, compiled to machine code."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numba import uintp

from mpiqmd.compiling import compiled


@lru_cache(maxsize=6)
def star_stencil(width: int) -> Callable[..., None]:
    """Return the compiled star stencil with this many neighbours on each side of every axis.

    ``stencil(padded, centre, weights_vk, potential, out)`` sets

        out(r) = (centre + potential(r)) f(r) + Σ_v Σ_k weights_vk (f(r + k v) + f(r - k v)),    k = 1 ... width,

    ``out`` and ``potential`` of shape (z, y, x), from f with ``width`` more points on every side, flattened.  The weights have
    shape (3, width), for x, y and z; units are those of the caller.  The width is a constant of the compiled loop and indices
    are unsigned, without which it would not be vectorised.
    """

    @compiled(fastmath=True, error_model="numpy")
    def stencil(
        padded: np.ndarray,
        centre: float,
        weights_vk: np.ndarray,
        potential: np.ndarray,
        out: np.ndarray,
    ) -> None:
        """Apply the star stencil of this width (equation above)."""
        wx, wy, wz = weights_vk[0], weights_vk[1], weights_vk[2]
        one, w = uintp(1), uintp(width)
        n_z, n_y, n_x = uintp(out.shape[0]), uintp(out.shape[1]), uintp(out.shape[2])
        row = n_x + w + w
        plane = row * (n_y + w + w)
        flat_potential, flat_out = potential.reshape(-1), out.reshape(-1)
        for z in range(n_z):
            for y in range(n_y):
                first = (z + w) * plane + (y + w) * row + w
                target = (z * n_y + y) * n_x
                for x in range(n_x):
                    p = first + x
                    total = (centre + flat_potential[target + x]) * padded[p]
                    for k in range(one, uintp(width + 1)):
                        total += wx[k - one] * (padded[p + k] + padded[p - k])
                        total += wy[k - one] * (padded[p + k * row] + padded[p - k * row])
                        total += wz[k - one] * (padded[p + k * plane] + padded[p - k * plane])
                    flat_out[target + x] = total

    return stencil


FAR = 6.0
"""Distance in widths beyond which ``erf`` is 1 in double precision."""
NEAREST = 1e-4
"""Distance, bohr, below which a grid point counts as this far from a nucleus."""


@compiled(error_model="numpy")
def add_smeared_coulomb(charge: float, width: float, z: np.ndarray, y: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """Add ``q erf(d / w) / d``, Ha, to a block of points: the potential of a Gaussian charge.  Not collective.

    Parameters
    ----------
    charge, width
        q, and w of the Gaussian, bohr.
    z, y, x
        Displacements of the points from the charge along each axis, bohr.
    out
        The block, shape (z, y, x).
    """
    inverse = 1.0 / width
    for i in range(len(z)):
        for j in range(len(y)):
            plane = z[i] * z[i] + y[j] * y[j]
            for k in range(len(x)):
                d = max(math.sqrt(plane + x[k] * x[k]), NEAREST)
                scaled = d * inverse
                out[i, j, k] += charge / d if scaled > FAR else charge * math.erf(scaled) / d


@compiled(error_model="numpy")
def smeared_coulomb_pull(width: float, z: np.ndarray, y: np.ndarray, x: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Return ``Σ_r ρ(r) s'(d) r_v / d``, shape (3,) for x, y, z, with ``s(d) = erf(d / w) / d`` and r from a point.

    In bohr⁻⁵ for a density in bohr⁻³: the volume element is the caller's.  Not collective.

    Parameters
    ----------
    width
        w, bohr.
    z, y, x
        Displacements of the points from the charge along each axis, bohr.
    density
        ρ at the points, shape (z, y, x).
    """
    total_x, total_y, total_z = 0.0, 0.0, 0.0
    inverse, slope_at_zero = 1.0 / width, 2.0 / (math.sqrt(math.pi) * width)
    for i in range(len(z)):
        for j in range(len(y)):
            plane, line, moment = z[i] * z[i] + y[j] * y[j], 0.0, 0.0
            for k in range(len(x)):
                d = max(math.sqrt(plane + x[k] * x[k]), NEAREST)
                scaled = d * inverse
                slope = -1.0 / d
                if scaled <= FAR:
                    slope = slope_at_zero * math.exp(-scaled * scaled) - math.erf(scaled) / d
                weighted = density[i, j, k] * slope / (d * d)
                line += weighted
                moment += weighted * x[k]
            total_x += moment
            total_y += line * y[j]
            total_z += line * z[i]
    return np.array([total_x, total_y, total_z])


@compiled(fastmath=True, error_model="numpy")
def combine(coefficients: np.ndarray, blocks: tuple[np.ndarray, ...], out: np.ndarray) -> None:
    """Set ``out = Σ_j c_j f_j`` for a tuple of flat arrays, reading each once."""
    size, length = uintp(out.size), uintp(4096)
    for start in range(uintp(0), size, length):
        stop = min(start + length, size)
        for p in range(start, stop):
            out[p] = coefficients[0] * blocks[0][p]
        for j in range(1, len(blocks)):
            c, block = coefficients[j], blocks[j]
            for p in range(start, stop):
                out[p] += c * block[p]


def linear_combination(coefficients: list[float], blocks: list[np.ndarray]) -> np.ndarray:
    """Return ``Σ_j c_j f_j`` of arrays of one shape and unit, which are the sum's, in one pass over each.  Not collective."""
    out = np.empty_like(blocks[0])
    combine(np.asarray(coefficients, float), tuple(block.reshape(-1) for block in blocks), out.reshape(-1))
    return out


@compiled()
def _products(blocks: tuple[np.ndarray, ...], out: np.ndarray) -> None:
    length = 4096
    for start in range(0, blocks[0].size, length):
        for i in range(len(blocks)):
            left = blocks[i][start : start + length]
            for j in range(i + 1):
                out[i, j] += np.dot(left, blocks[j][start : start + length])


def inner_products(blocks: list[np.ndarray]) -> np.ndarray:
    """Return ``Σ_r f_i(r) f_j(r)`` over this rank's points of arrays of one shape, in one pass.  Not collective.

    Shape (blocks, blocks), in the square of their unit: the volume element is the caller's.
    """
    out = np.zeros((len(blocks), len(blocks)))
    _products(tuple(np.ascontiguousarray(block).reshape(-1) for block in blocks), out)
    return np.tril(out) + np.tril(out, -1).T
