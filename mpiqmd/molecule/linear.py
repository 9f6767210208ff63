"""Linear molecules: which are, and their body frame."""

from __future__ import annotations

import numpy as np

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.molecule import Molecule, require_positions
from mpiqmd.molecule.rigid import SMALLEST_GAP, Alignment, shortest_rotation

LINEAR = 0.02
"""A molecule whose atoms are all closer than this (bohr) to one axis is linear."""
TURNED_FROM = np.array([0.851, 0.478, 0.217]) / np.linalg.norm([0.851, 0.478, 0.217])
"""Direction d from which the frame turns the axis of a linear molecule to x, after the shortest turn there.

The shortest turn is not unique where the axis is opposite to d: that is 20 degrees and more away from the axes of the
laboratory and the diagonals between them, along which molecules are laid down and start to tumble.
"""

_X_V = np.array([1.0, 0.0, 0.0])
_TO_X_VV = shortest_rotation(TURNED_FROM, _X_V)


def linear_axis(positions_av: np.ndarray) -> np.ndarray | None:
    """Return the unit vector (3,) along the line on which atoms at (N, 3), bohr, lie; None if they do not.

    Not collective.  Of either sign; one atom has any axis.
    """
    centred_av = positions_av - positions_av.mean(axis=0)
    axis_v = np.linalg.svd(centred_av, full_matrices=False)[2][0]
    off_axis_av = centred_av - np.outer(centred_av @ axis_v, axis_v)
    return axis_v if np.linalg.norm(off_axis_av, axis=1).max() < LINEAR else None


class LinearFrame:
    """Frame of a linear molecule: its axis ``sum_a M_a s_a (R_a - R_com)`` along +x, s the places along it in the reference.

    So ``sum_a M_a s_a y_a = sum_a M_a s_a z_a = 0``, the Eckart conditions that a straight reference has; both components of
    every bend are internal coordinates, and straight geometries are like any other.  The axis is turned to ``TURNED_FROM`` by
    the shortest way, and from there to +x always in the same way; a molecule whose axis lies along +x stays as it is.  Shortest
    ways to d have ``(d + S d) . dtheta = 0`` for a turn S, so that here ``n = e_x + Q d``.  Opposite to d, where n vanishes,
    the body turns about its axis by any angle, which symmetric energies do not notice.

    Parameters
    ----------
    reference
        Molecule at the reference geometry, anywhere; its masses are the weights.

    Raises
    ------
    GeometryError
        The reference is not linear.
    """

    name = "linear"

    def __init__(self, reference: Molecule) -> None:
        self._masses_a = reference.masses_a
        self._weights_a = self._masses_a / self._masses_a.sum()
        centred_av = reference.positions_av - reference.centre_of_mass_v
        axis_v = linear_axis(reference.positions_av)
        if axis_v is None:
            raise GeometryError(
                f"the reference geometry of {reference.formula} has no frame 'linear': its atoms are not within "
                f"{LINEAR} bohr of one line. Correct the geometry, or use another frame."
            )
        # of the two directions the one whose turn is the shorter
        self._moments_a = self._masses_a * (centred_av @ axis_v) * (1.0 if axis_v @ TURNED_FROM > 0 else -1.0)
        self.n_coordinates = 3 * len(reference) - 5 if len(reference) > 1 else 0
        self._order_a = np.arange(len(reference))
        self._gradients_kav = np.eye(3)[1:, None, :] * self._moments_a[:, None]

    def align(self, positions_av: np.ndarray) -> Alignment:
        """Return the alignment of positions of shape (N, 3), bohr. Not collective.

        Raises
        ------
        GeometryError
            There is no axis, as where two atoms coincide, or the number of atoms is not that of the reference.
        """
        positions_av = require_positions(positions_av)
        if len(positions_av) != len(self._order_a):
            raise GeometryError(
                f"the frame of a linear molecule was given positions of shape {positions_av.shape}; the reference has "
                f"{len(self._order_a)} atoms. Align geometries of the same molecule only."
            )
        origin_v = self._weights_a @ positions_av
        centred_av = positions_av - origin_v
        rotation_vv = self._rotation(self._moments_a @ centred_av)
        no_turn_v = _X_V + rotation_vv @ TURNED_FROM
        length = float(np.linalg.norm(no_turn_v))
        return Alignment(
            body_positions_av=centred_av @ rotation_vv.T,
            rotation_vv=rotation_vv,
            origin_v=origin_v,
            permutation_a=self._order_a,
            origin_weights_a=self._weights_a,
            condition_gradients_kav=self._gradients_kav if len(self._order_a) > 1 else None,
            no_turn_v=no_turn_v / length if length > SMALLEST_GAP else _X_V,
        )

    def _rotation(self, along_v: np.ndarray) -> np.ndarray:
        """The turn of a vector to +x, by way of ``TURNED_FROM``."""
        if len(self._order_a) == 1:
            return np.eye(3)
        length = float(np.linalg.norm(along_v))
        if not length > SMALLEST_GAP * float(np.abs(self._moments_a).sum()):
            raise GeometryError(
                "the axis of the linear molecule is not defined: its atoms lie where they balance each other, as where two "
                "coincide. Check the geometry, or the step that led to it."
            )
        return _TO_X_VV @ shortest_rotation(along_v / length, TURNED_FROM)
