r"""Vibrations across a coordinate of large amplitude: those that leave it as it is.

In normal coordinates q the energy is :math:`\tfrac12 \sum_k \omega_k^2 q_k^2`, and the coordinate changes by
:math:`g \cdot dq`, :math:`g_k = \nabla\varphi \cdot e_k/\sqrt{M}`.  On the space orthogonal to g the same energy has
frequencies and modes of its own; thermal motion along :math:`\varphi` has the variance :math:`\sum_k g_k^2 \sigma_k^2`.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.molecule.large_amplitude import LargeAmplitude
from mpiqmd.molecule.vibrations import canonical
from mpiqmd.sampling.normal_modes import NormalModes


def modes_across(modes: NormalModes, coordinate: LargeAmplitude) -> NormalModes:
    """Return the vibrations, one fewer, in which the coordinate does not change to first order.  Not collective."""
    slopes_k = _slopes(modes, coordinate)
    # the first column is along the slopes, the others span what is orthogonal to them
    across_kj = np.linalg.qr(slopes_k[:, None], mode="complete")[0][:, 1:]
    squares_j, vectors = np.linalg.eigh(across_kj.T @ (modes.frequencies_k[:, None] ** 2 * across_kj))
    shape, roots_c = modes.molecule.positions_av.shape, np.sqrt(np.repeat(modes.molecule.masses_a, 3))
    weighted_ck = roots_c[:, None] * modes.displacements_kav.reshape(len(modes.frequencies_k), -1).T
    displacements_cj = canonical(weighted_ck @ (across_kj @ vectors), squares_j) / roots_c[:, None]
    return NormalModes(modes.molecule, np.sqrt(squares_j), displacements_cj.T.reshape(-1, *shape))


def deviation_along(modes: NormalModes, coordinate: LargeAmplitude, temperature: float, quantum: bool = False) -> float:
    """Return the standard deviation of the coordinate in harmonic thermal motion, in its unit.  Not collective.

    ``temperature`` is k_B T, Ha.
    """
    return float(np.linalg.norm(_slopes(modes, coordinate) * modes.deviations(temperature, quantum)))


def _slopes(modes: NormalModes, coordinate: LargeAmplitude) -> np.ndarray:
    """Return the derivatives of the coordinate by the normal coordinates, shape (n_modes,)."""
    gradient_av = coordinate.gradient(modes.molecule.positions_av)
    return np.tensordot(modes.displacements_kav, gradient_av, axes=2)
