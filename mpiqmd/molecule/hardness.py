r"""How fine a grid an element needs: how much of its pseudo-atom lies beyond the waves that a grid carries.

The atom's levels are those of a model, its ion screened by the other electrons in an exponential cloud,

.. math:: V(r) = V_{loc}(r) + V_{nl} + (Z - 1) \Big[\frac{1}{r} - e^{-\kappa r}\Big(\frac{1}{r} + \frac{\kappa}{2}\Big)\Big],

solved among the waves :math:`j_l(q_n r)` of a sphere and filled from below.  What a grid with waves up to q leaves out is

.. math:: T(q) = \sum_i f_i \sum_{q_n > q} |c_{in}|^2 q_n^2 / 2,

a kinetic energy.  The spacing needed is that at which T of its shortest wave reaches ``TOLERATED``, or ``TOLERATED_OF_ONE``
for each squared charge of an ion of few electrons, whose kinetic energies are so much smaller; the ripple of the energy of an
atom that is shifted through the grid is then a few tenths of a millihartree (measured for H, C, N, O, F).  Replicated, not
collective.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.special import spherical_jn

from mpiqmd.molecule.pseudopotential import HIGHEST_ANGULAR_MOMENTUM, Pseudopotential

TOLERATED = 0.03
"""Kinetic energy beyond the grid's shortest wave (Ha) at which an element begins to feel the grid."""
TOLERATED_OF_ONE = 0.002
"""The same for a charge Z = 1, times Z² (Ha): H2 ripples by 0.7 mHa at the spacing where T of one atom is 0.0017 Ha.

Chosen for H; He, Li, B and Al, which it also concerns, were not measured against it.
"""
CARRIED = 0.75
"""Part of the waves of a grid, π / h, that orbitals may use where their products live on the same grid, and aliases matter."""
SPHERE = 9.0
"""Radius of the sphere, bohr."""
MESH = 900
"""Points of its radial mesh."""
LARGEST_WAVE = 24.0
"""Largest wave number, 1/bohr: that of a spacing of 0.13 bohr."""
CLOUD_DECAY = 1.9
"""κ of the screening cloud, 1/bohr."""
LEVELS_EACH = 3
"""Levels looked at for each angular momentum."""


class PseudoAtom:
    """The model atom of one pseudopotential."""

    def __init__(self, pseudo: Pseudopotential) -> None:
        self.pseudo = pseudo

    @cached_property
    def _tail(self) -> tuple[np.ndarray, np.ndarray]:
        """Wave numbers in falling order and the kinetic energy of all waves from each on."""
        levels = [level for order in range(HIGHEST_ANGULAR_MOMENTUM + 1) for level in self._levels(order)]
        waves, energies, left = [], [], self.pseudo.valence
        for _, degeneracy, waves_q, weights_q in sorted(levels, key=lambda level: level[0]):
            electrons = min(left, degeneracy)
            left -= electrons
            waves.append(waves_q)
            energies.append(electrons * weights_q * waves_q**2 / 2)
        all_waves, all_energies = np.concatenate(waves), np.concatenate(energies)
        order = np.argsort(-all_waves)
        return all_waves[order], np.cumsum(all_energies[order])

    def _levels(self, l: int) -> list[tuple[float, float, np.ndarray, np.ndarray]]:  # noqa: E741
        """Return energy, number of electrons it may hold, wave numbers and ``|c_n|²`` of the lowest levels of one l."""
        step = SPHERE / MESH
        mesh_r = (np.arange(MESH) + 0.5) * step
        waves_q = _bessel_zeros(l, LARGEST_WAVE * SPHERE) / SPHERE
        basis_qr = spherical_jn(l, np.outer(waves_q, mesh_r)) * mesh_r * np.sqrt(step)
        basis_qr /= np.linalg.norm(basis_qr, axis=1, keepdims=True)
        hamiltonian = np.diag(waves_q**2 / 2) + (basis_qr * self._potential(mesh_r)) @ basis_qr.T
        for channel in self.pseudo.channels:
            if channel.l == l:
                projectors = np.array([np.interp(mesh_r, self.pseudo.mesh_r, p, right=0.0) for p in channel.projectors_pr])
                overlaps = basis_qr @ (projectors * mesh_r * np.sqrt(step)).T
                hamiltonian += overlaps @ channel.coupling_pp @ overlaps.T
        values, vectors = np.linalg.eigh(hamiltonian)
        return [(values[i], 2.0 * (2 * l + 1), waves_q, vectors[:, i] ** 2) for i in range(LEVELS_EACH)]

    def _potential(self, mesh_r: np.ndarray) -> np.ndarray:
        pseudo = self.pseudo
        inside = mesh_r <= pseudo.mesh_r[-1]
        ion_r = np.where(inside, np.interp(mesh_r, pseudo.mesh_r, pseudo.local_r), -pseudo.valence / mesh_r)
        cloud_r = 1.0 / mesh_r - np.exp(-CLOUD_DECAY * mesh_r) * (1.0 / mesh_r + 0.5 * CLOUD_DECAY)
        return ion_r + (pseudo.valence - 1.0) * cloud_r

    def needed_spacing(self, carried: float = 1.0) -> float:
        """Return the largest spacing (bohr) with which T is tolerated, if a grid carries waves up to ``carried`` π / h."""
        waves, energies = self._tail
        tolerated = min(TOLERATED, TOLERATED_OF_ONE * self.pseudo.valence**2)
        first = min(int(np.searchsorted(energies, tolerated)), len(waves) - 1)
        return carried * np.pi / float(waves[first])


def _bessel_zeros(l: int, largest: float) -> np.ndarray:  # noqa: E741
    """Return the positive zeros of ``j_l`` below a number."""
    points = np.linspace(max(l, 1.0), largest, 16 * int(largest))
    values = spherical_jn(l, points)
    before = np.flatnonzero(values[:-1] * values[1:] < 0)
    zeros = points[before] - values[before] * (points[1] - points[0]) / (values[before + 1] - values[before])
    for _ in range(3):
        zeros -= spherical_jn(l, zeros) / spherical_jn(l, zeros, derivative=True)
    return zeros
