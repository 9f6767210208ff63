"""Radial functions from the mesh of a file to a uniform one from 0.

A uniform mesh from 0 is kept, only its end is cut where everything has vanished.  On any other mesh (logarithmic ones
are usual) a function is continued to negative r by its parity, splined, and evaluated on a uniform mesh; the local
potential without its smeared Coulomb part, so that what is splined is short-ranged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import erf

MESH_SPACING = 0.005
"""Of the mesh that functions on a non-uniform one are brought to, bohr."""
SHORTEST_MESH = 4.0
"""Bohr; shorter only if the file is."""
NEGLIGIBLE = 1e-8
"""Share of its largest value below which the tail of a function is cut."""
TO_ORIGIN = np.array([1.5, -0.6, 0.1])
"""An even polynomial through three equidistant points after 0, evaluated at 0."""


class Resampler:
    """The way from one mesh to a uniform one. Not collective; replicated.

    Parameters
    ----------
    radii_r
        The mesh of the file, growing from 0 or nearly, bohr.
    tails
        Functions on it that have vanished where the new mesh may end.
    """

    def __init__(self, radii_r: np.ndarray, tails: Sequence[np.ndarray]) -> None:
        self.radii_r = radii_r
        uniform_r = np.linspace(0.0, radii_r[-1], len(radii_r))
        self.is_uniform = radii_r[0] == 0.0 and bool(np.allclose(radii_r, uniform_r, rtol=0.0, atol=1e-6))
        spacing = uniform_r[1] if self.is_uniform else MESH_SPACING
        last = max((_last_index(tail) for tail in tails), default=0)
        end = min(max(radii_r[min(last + 1, len(radii_r) - 1)], SHORTEST_MESH), radii_r[-1])
        n_steps = int(end / spacing + (0.5 if self.is_uniform else 0.0))
        self.mesh_r = spacing * np.arange(n_steps + 1)
        self.first = 1 if radii_r[0] == 0.0 else 0

    def even(self, values_r: np.ndarray) -> np.ndarray:
        """Return an even function of r on the new mesh, shape (n_mesh,), in its own unit."""
        if self.is_uniform:
            return values_r[: len(self.mesh_r)]
        return self._spline(values_r, 1.0)(self.mesh_r)

    def local(self, local_r: np.ndarray, valence: float) -> np.ndarray:
        """Return a local potential of charge Z, shape (n_mesh,), Ha, exactly -Z/r at the end of the mesh."""
        if self.is_uniform:
            result_r = local_r[: len(self.mesh_r)].copy()
        else:
            result_r = self.even(local_r + valence * _smeared(self.radii_r)) - valence * _smeared(self.mesh_r)
        result_r[-1] = -valence / self.mesh_r[-1]
        return result_r

    def projector(self, weighted_r: np.ndarray, l: int) -> np.ndarray:  # noqa: E741
        """Return chi(r) of angular momentum l from the table of r chi(r), shape (n_mesh,), in its unit per bohr."""
        result_r = np.zeros_like(self.mesh_r)
        if self.is_uniform:
            result_r[1:] = weighted_r[1 : len(self.mesh_r)] / self.mesh_r[1:]
            result_r[0] = result_r[1:4] @ TO_ORIGIN if l == 0 else 0.0
            return result_r
        spline = self._spline(weighted_r, -1.0 if l % 2 == 0 else 1.0)
        result_r[1:] = spline(self.mesh_r[1:]) / self.mesh_r[1:]
        result_r[0] = spline(0.0, 1) if l == 0 else 0.0
        return result_r

    def shell_density(self, shells_r: np.ndarray) -> np.ndarray:
        """Return n(r) from the table of 4 pi r^2 n(r), shape (n_mesh,), bohr^-3."""
        density_r, away = np.zeros_like(shells_r), slice(self.first, None)
        density_r[away] = shells_r[away] / (4.0 * np.pi * self.radii_r[away] ** 2)
        if self.first:
            density_r[0] = density_r[1:4] @ TO_ORIGIN
        return self.even(density_r)

    def _spline(self, values_r: np.ndarray, parity: float) -> CubicSpline:
        """A spline through the function continued to negative r."""
        away = slice(self.first, None)
        radii_r = np.concatenate([-self.radii_r[away][::-1], self.radii_r])
        return CubicSpline(radii_r, np.concatenate([parity * values_r[away][::-1], values_r]))


def _last_index(values_r: np.ndarray) -> int:
    """Where a function is last larger than a negligible share of its largest value; at 0 if it vanishes everywhere."""
    size_r = np.abs(values_r)
    return int(np.nonzero(size_r >= NEGLIGIBLE * size_r.max())[0][-1]) if size_r.any() else 0


def _smeared(radii_r: np.ndarray) -> np.ndarray:
    """``erf(r) / r``, at 0 its limit."""
    safe_r = np.maximum(radii_r, 1e-8)
    return np.where(radii_r > 1e-8, erf(safe_r) / safe_r, 2.0 / np.sqrt(np.pi))
