r"""Geometries in a box of normal-mode amplitudes, for any molecule.

With the Hessian K of the energy at a reference geometry and masses M, the eigenvectors of
``M^{-1/2} K M^{-1/2}`` orthogonal to translations and rotations are the modes e_k with frequencies omega_k,
and

.. math:: R_a = R^0_a + \sum_k q_k\, e_{ka} / \sqrt{M_a}.

In thermal equilibrium the amplitude q_k has the standard deviation ``sqrt(T) / omega_k`` for classical nuclei
and ``sqrt(coth(omega_k / 2T) / 2 omega_k)`` for quantum ones (zero-point motion at T = 0).  E. B. Wilson, J.
C. Decius, P. C. Cross, Molecular Vibrations (1955), chapter 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiqmd.errors import ConfigError, GeometryError
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import Symmetry, with_images
from mpiqmd.molecule.vibrations import Vibrations, vibrations
from mpiqmd.sampling.box import sobol_in_box
from mpiqmd.sampling.samples import Samples

FILLED = 0.9
"""Root of the mean square distance of the geometries to train on, in radii of the ellipsoid that holds all motion."""
SMALLEST_SHARE = 1e-4
"""Of a normal distribution that is looked for in its tails: 3.7 standard deviations."""
SAME = 1e-6
"""Geometries closer than this (bohr) are one."""


class NormalModes(Vibrations):
    """Vibrations about a minimum of the energy, where all frequencies are real. Not collective; replicated."""

    def deviations(self, temperature: float, quantum: bool = False) -> np.ndarray:
        """Return standard deviations of the amplitudes, shape (n_modes,). Not collective.

        ``temperature`` is k_B T in Ha; at zero only quantum nuclei move.
        """
        if not quantum:
            return np.sqrt(max(temperature, 0.0)) / self.frequencies_k
        hyperbolic_k = np.ones_like(self.frequencies_k)
        if temperature > 0:
            hyperbolic_k = np.tanh(self.frequencies_k / (2.0 * temperature))
        return np.sqrt(0.5 / (self.frequencies_k * hyperbolic_k))

    def positions(self, amplitudes_sk: np.ndarray) -> np.ndarray:
        """Return positions at amplitudes of shape (n_samples, n_modes), shape (n_samples, N, 3), bohr."""
        return self.molecule.positions_av + np.tensordot(amplitudes_sk, self.displacements_kav, axes=1)


def normal_modes(reference: Molecule, hessian: np.ndarray) -> NormalModes:
    """Return the vibrations of a molecule. Not collective.

    Parameters
    ----------
    reference
        Molecule at a minimum of the energy.
    hessian
        Second derivatives of the energy by the coordinates in the order x, y, z of atom 0, of atom 1, ...,
        shape (3 N, 3 N), Ha/bohr^2; symmetrised here.

    Raises
    ------
    GeometryError
        A vibration has a negative or vanishing force constant: the reference is not a minimum.
    """
    found = vibrations(reference, hessian)
    squares_k = found.frequencies_k * np.abs(found.frequencies_k)
    largest = np.abs(squares_k).max(initial=0.0)
    if len(squares_k) and squares_k[0] <= 1e-8 * largest:
        raise GeometryError(
            f"the lowest vibration has the squared frequency {squares_k[0]:.3g} Ha^2; all must be positive. "
            "Normal modes are taken about a minimum: relax the geometry, or displace it along that mode and relax."
        )
    return NormalModes(found.molecule, found.frequencies_k, found.displacements_kav)


@dataclass(frozen=True, eq=False)
class ThermalRegion:
    """Where thermal motion goes: a box of ``width`` standard deviations a mode, cut off by an ellipsoid.

    The ellipsoid holds as much of the harmonic distribution of all modes together as ``width`` deviations hold of one, so
    that corners of a box of many modes, which no motion reaches, are drawn in.  Not collective; replicated.

    Parameters
    ----------
    modes
        Vibrations of the molecule.
    temperature
        k_B T of the nuclei, Ha.
    width
        Half of the side of the box in standard deviations.
    quantum
        Use the deviations of quantum nuclei.

    Raises
    ------
    ConfigError
        There are no vibrations, or no motion at this temperature.
    """

    modes: NormalModes
    temperature: float
    width: float = 3.0
    quantum: bool = False

    def __post_init__(self) -> None:
        deviations_k = self.deviations_k
        if len(deviations_k) == 0 or not self.width > 0 or not (deviations_k > 0).all():
            raise ConfigError(
                f"a region of {self.width} standard deviations of {len(deviations_k)} vibrations at {self.temperature:.4g} "
                "Ha was asked for; all must be positive. Correct train.deviations or train.temperature, or set train.quantum."
            )

    @property
    def deviations_k(self) -> np.ndarray:
        """Standard deviations of the amplitudes, shape (n_modes,), a.u.: bohr times the root of an electron mass."""
        return self.modes.deviations(self.temperature, self.quantum)

    @property
    def radius(self) -> float:
        """Radius of the ellipsoid in standard deviations."""
        from scipy.stats import chi2  # slow to load, and seldom needed

        return float(np.sqrt(chi2.ppf(chi2.cdf(self.width**2, 1), len(self.modes.frequencies_k))))

    @property
    def spread(self) -> float:
        """Standard deviation of the amplitudes of geometries to train on, in those of the motion."""
        return FILLED * self.radius / float(np.sqrt(len(self.modes.frequencies_k)))

    @property
    def reach(self) -> float:
        """Farthest that an atom moves along one mode, bohr."""
        amplitudes_k = self.width * self.deviations_k
        return float((amplitudes_k[:, None] * np.linalg.norm(self.modes.displacements_kav, axis=2)).max())

    def samples(self, n: int, symmetries: Sequence[Symmetry] = ()) -> Samples:
        """Return at most n geometries that fill the region, none the image of another.

        First the reference, then both ends of every axis, then points of a Sobol sequence distributed as in harmonic thermal
        motion, but wide enough to fill the ellipsoid: narrower ones leave its edges to extrapolation, corners and points all
        over the box lie outside of it where there are many modes.  A longer list begins with the shorter one.  Labels are the
        amplitudes q1, q2, ... in standard deviations.
        """
        chosen: list[np.ndarray] = []
        labels: list[dict[str, float]] = []
        for scaled_k in self._points(n):
            position_av = self.modes.positions(scaled_k[None] * self.deviations_k)[0]
            images = with_images(position_av[None], symmetries)
            if len(chosen) < n and not any(np.abs(image - other).max() < SAME for image in images for other in chosen):
                chosen.append(position_av)
                labels.append({f"q{k}": float(q) for k, q in enumerate(scaled_k, start=1)})
        return Samples(np.array(chosen), labels, "normal-modes")

    def random(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return geometries of harmonic thermal motion inside the region, shape (n, N, 3), bohr."""
        scaled_sk = self._pulled(rng.normal(size=(n, len(self.deviations_k))))
        return self.modes.positions(scaled_sk * self.deviations_k)

    def _points(self, n: int) -> np.ndarray:
        """Return amplitudes in standard deviations, more than n of them if there are."""
        from scipy.special import ndtri  # slow to load, and seldom needed

        count = len(self.deviations_k)
        axes = np.stack([np.eye(count), -np.eye(count)], axis=1).reshape(-1, count)
        shares_sk = sobol_in_box(2 * n + 1, np.zeros(count), np.ones(count))[1:]
        thermal_sk = self.spread * ndtri(np.clip(shares_sk, SMALLEST_SHARE, 1.0 - SMALLEST_SHARE))
        # ends of some axes alone would show some modes and not the others
        ends_sk = self.width * axes if n > 2 * count else np.zeros((0, count))
        return self._pulled(np.concatenate([np.zeros((1, count)), ends_sk, thermal_sk]))

    def _pulled(self, scaled_sk: np.ndarray) -> np.ndarray:
        """Return amplitudes cut off at the sides of the box, those beyond the ellipsoid moved towards its centre."""
        boxed_sk = np.clip(scaled_sk, -self.width, self.width)
        lengths_s = np.linalg.norm(boxed_sk, axis=1, keepdims=True)
        return boxed_sk * np.minimum(1.0, self.radius / np.maximum(lengths_s, 1e-300))
