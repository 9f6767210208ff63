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

from dataclasses import dataclass

import numpy as np

from mpiqmd.errors import ConfigError, GeometryError
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.vibrations import vibrations
from mpiqmd.sampling.box import sobol_in_box
from mpiqmd.sampling.samples import Samples


@dataclass(frozen=True, eq=False)
class NormalModes:
    """Vibrations about a reference geometry. Not collective; replicated.

    Parameters
    ----------
    reference
        Molecule at the reference geometry.
    frequencies_k
        Angular frequencies in ascending order, shape (n_modes,), Ha.
    displacements_kav
        ``e_ka / sqrt(M_a)``: change of the positions with the amplitude q_k, shape (n_modes, N, 3).
    """

    reference: Molecule
    frequencies_k: np.ndarray
    displacements_kav: np.ndarray

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
        return self.reference.positions_av + np.tensordot(amplitudes_sk, self.displacements_kav, axes=1)


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
            "Relax the geometry first: normal modes are taken about a minimum."
        )
    return NormalModes(reference, found.frequencies_k, found.displacements_kav)


def normal_mode_samples(
    modes: NormalModes,
    n: int,
    temperature: float,
    k_sigma: float = 2.0,
    quantum: bool = False,
    seed: int | None = None,
) -> Samples:
    """Return geometries whose amplitudes fill the box of ``k_sigma`` standard deviations. Not collective.

    Parameters
    ----------
    modes
        Vibrations of the molecule.
    n
        Number of geometries; the first is the reference itself, the others follow a Sobol sequence.
    temperature
        k_B T of the nuclei, Ha.
    k_sigma
        Half of the side of the box in standard deviations.
    quantum
        Use the deviations of quantum nuclei.
    seed
        Scrambles the sequence.

    Returns
    -------
    Samples labelled with their amplitudes q1, q2, ... in standard deviations.

    Raises
    ------
    ConfigError
        The box is empty: no samples, no vibrations, or no motion at this temperature.
    """
    deviations_k = modes.deviations(temperature, quantum)
    if n < 1 or len(deviations_k) == 0 or k_sigma <= 0 or not (deviations_k > 0).all():
        raise ConfigError(
            f"{n} normal-mode samples of {len(deviations_k)} vibrations in a box of {k_sigma} standard "
            f"deviations at {temperature:.4g} Ha were asked for; all must be positive. Correct [train]."
        )
    box_k = np.full(len(deviations_k), k_sigma)
    scaled_sk = sobol_in_box(n, -box_k, box_k, seed)
    scaled_sk[0] = 0.0
    labels = [{f"q{k}": float(q) for k, q in enumerate(scaled_k, start=1)} for scaled_k in scaled_sk]
    return Samples(modes.positions(scaled_sk * deviations_k), labels, "normal-modes")
