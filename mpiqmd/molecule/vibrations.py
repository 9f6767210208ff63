r"""Harmonic vibrations of a molecule from the second derivatives of its energy.

With the Hessian K and masses M, the eigenvectors of ``M^{-1/2} K M^{-1/2}`` orthogonal to translations and rotations are
the modes e_k, their eigenvalues the squared angular frequencies.  A mode absorbs infrared light with the intensity

.. math:: A_k = \frac{N_A}{12 \varepsilon_0 c^2} \Big| \frac{\partial\mu}{\partial q_k} \Big|^2, \quad
    \frac{\partial\mu}{\partial q_k} = \sum_{a} \frac{\partial\mu}{\partial R_a} \cdot \frac{e_{ka}}{\sqrt{M_a}}.

E. B. Wilson, J. C. Decius, P. C. Cross, Molecular Vibrations (1955), chapters 2 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.linear import linear_axis
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.units import INFRARED_INTENSITY_IN_KM_PER_MOL

AS_LARGE = 1e-3
"""Relative difference up to which two coordinates of a mode are as large as each other: round-off shall not choose."""
EQUAL = 1e-6
"""Relative difference of squared frequencies up to which modes are degenerate."""

_RIGID_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Vibrations:
    """Vibrations about a geometry. Not collective; replicated.

    Parameters
    ----------
    molecule
        Molecule at that geometry.
    frequencies_k
        Angular frequencies in ascending order, shape (n_modes,), Ha; an imaginary one is given as minus its magnitude.
    displacements_kav
        ``e_ka / sqrt(M_a)``: change of the positions with the amplitude q_k, shape (n_modes, N, 3).
    """

    molecule: Molecule
    frequencies_k: np.ndarray
    displacements_kav: np.ndarray

    @property
    def n_imaginary(self) -> int:
        """Number of modes along which the energy falls."""
        return int(np.count_nonzero(self.frequencies_k < 0))

    @property
    def zero_point_energy(self) -> float:
        """Half the sum of the real frequencies, Ha."""
        return 0.5 * float(self.frequencies_k[self.frequencies_k > 0].sum())

    @property
    def reduced_masses_k(self) -> np.ndarray:
        """Masses ``1 / sum_a |e_ka|^2 / M_a`` that move with normalised changes of positions, (n_modes,), electron masses."""
        return 1.0 / (self.displacements_kav**2).sum(axis=(1, 2))

    @property
    def directions_kav(self) -> np.ndarray:
        """Changes of the positions, each mode normalised to 1 and without unit, shape (n_modes, N, 3)."""
        return self.displacements_kav * np.sqrt(self.reduced_masses_k)[:, None, None]

    def dipole_slopes(self, dipole_gradient_cv: np.ndarray) -> np.ndarray:
        """Return the change of the dipole moment with each amplitude, shape (n_modes, 3), atomic units.

        ``dipole_gradient_cv`` is the derivative of the dipole moment by the coordinates, shape (3 N, 3). Not collective.
        """
        flat = self.displacements_kav.reshape(len(self.frequencies_k), len(dipole_gradient_cv))
        return flat @ dipole_gradient_cv

    def infrared_intensities(self, dipole_gradient_cv: np.ndarray | None) -> np.ndarray | None:
        """Return the intensities of the modes, shape (n_modes,), km/mol, None without dipole moments.  Not collective.

        ``dipole_gradient_cv`` as in :meth:`dipole_slopes`.
        """
        if dipole_gradient_cv is None:
            return None
        return INFRARED_INTENSITY_IN_KM_PER_MOL * (self.dipole_slopes(dipole_gradient_cv) ** 2).sum(axis=1)

    def strongest_atoms(self, k: int, count: int = 3) -> str:
        """Return the labels of the atoms that move most in a mode, the most first.  Not collective."""
        sizes_a = np.linalg.norm(self.directions_kav[k], axis=1)
        names = self.molecule.labels
        moving = [a for a in np.argsort(-sizes_a, kind="stable")[:count] if sizes_a[a] > 0.1 * sizes_a.max()]
        return " ".join(names[a] for a in moving)


def vibrations(molecule: Molecule, hessian: np.ndarray, turns: bool = True) -> Vibrations:
    """Return the vibrations of a molecule. Not collective.

    Of degenerate modes, of which any mixture is as good, those are taken that move along the axes as far as they can.

    Parameters
    ----------
    molecule
        Molecule at the geometry of the Hessian.
    hessian
        Second derivatives of the energy by the coordinates in the order x, y, z of atom 0, of atom 1, ...,
        shape (3 N, 3 N), Ha/bohr^2; symmetrised here.
    turns
        Whether the molecule turns freely.  In a periodic cell it does not: its rotations are vibrations against its images.

    Raises
    ------
    GeometryError
        The Hessian has the wrong shape or is not finite.
    """
    n_coordinates = 3 * len(molecule)
    hessian = np.asarray(hessian, dtype=float)
    if hessian.shape != (n_coordinates, n_coordinates) or not np.isfinite(hessian).all():
        raise GeometryError(
            f"the Hessian has shape {hessian.shape}; finite values of shape "
            f"{(n_coordinates, n_coordinates)} are needed for {len(molecule)} atoms. Compute it for this "
            "molecule."
        )
    roots_c = np.sqrt(np.repeat(molecule.masses_a, 3))
    weighted = 0.5 * (hessian + hessian.T) / np.outer(roots_c, roots_c)
    space = vibrational_space(molecule, turns)
    squares_k, vectors = np.linalg.eigh(space.T @ weighted @ space)
    displacements_ck = canonical(space @ vectors, squares_k) / roots_c[:, None]
    return Vibrations(
        molecule,
        np.sign(squares_k) * np.sqrt(np.abs(squares_k)),
        displacements_ck.T.reshape(-1, len(molecule), 3),
    )


def canonical(modes_ck: np.ndarray, squares_k: np.ndarray) -> np.ndarray:
    """Return modes, orthonormal columns (3 N, n_modes) without unit, as they are on any machine. Not collective.

    Of those with equal ``squares_k`` the mixtures that :func:`vibrations` describes; each moves its largest coordinate, of
    several as large the first, in the positive direction.
    """
    turned_ck = _along_axes(modes_ck, squares_k)
    sizes_ck = np.abs(turned_ck)
    leading_k = (sizes_ck > (1.0 - AS_LARGE) * sizes_ck.max(axis=0)).argmax(axis=0)
    signed_ck: np.ndarray = turned_ck * np.sign(turned_ck[leading_k, range(len(squares_k))])
    return signed_ck


def vibrational_space(molecule: Molecule, turns: bool = True) -> np.ndarray:
    """Return orthonormal mass-weighted vectors orthogonal to translations and (``turns``) rotations, shape (3 N, n_modes).

    Without unit.  Not collective.  A linear molecule has one mode more than another with as many atoms.
    """
    roots_c = np.sqrt(np.repeat(molecule.masses_a, 3))
    centred_av = _straightened(molecule.positions_av - molecule.centre_of_mass_v)
    rigid = []
    for axis_v in np.eye(3):
        rigid.append(np.tile(axis_v, len(molecule)))
        if turns:
            rigid.append(np.cross(axis_v, centred_av).ravel())
    left, values, _ = np.linalg.svd(np.array(rigid).T * roots_c[:, None], full_matrices=True)
    return left[:, np.count_nonzero(values > _RIGID_TOLERANCE * values[0]) :]


def _along_axes(modes_ck: np.ndarray, squares_k: np.ndarray) -> np.ndarray:
    """The modes, degenerate ones turned among themselves: the first alone moves the coordinate that moves most, and so on."""
    turned_ck, starts = modes_ck.copy(), np.flatnonzero(np.diff(squares_k, prepend=-np.inf) > EQUAL * np.abs(squares_k))
    # of coordinates that move alike the first
    preference_c = 1.0 - 1e-9 * np.arange(len(modes_ck))
    for group in np.split(np.arange(len(squares_k)), starts[1:]):
        if len(group) > 1:
            turned_ck[:, group] = modes_ck[:, group] @ qr((preference_c[:, None] * modes_ck[:, group]).T, pivoting=True)[0]
    return turned_ck


def _straightened(centred_av: np.ndarray) -> np.ndarray:
    """The positions, exactly on an axis if they nearly are: else the turn about it would take the place of a bend."""
    axis_v = linear_axis(centred_av)
    return centred_av if axis_v is None else np.outer(centred_av @ axis_v, axis_v)
