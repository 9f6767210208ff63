r"""Rigid motions of nuclei, and the derivative of an energy through a body frame.

A frame maps laboratory positions R to body coordinates ``x_a = Q (R_pi(a) - R_0)`` with an orthogonal Q, an
origin ``R_0 = sum_b w_b R_pi(b)`` and a permutation pi of the atoms; conditions ``c_k(x) = 0`` fix the
orientation.  For an energy ``E(R) = Ebar(x(R))`` with gradient ``g_a = dEbar/dx_a``, a displacement ``dR``
changes the body coordinates by ``dx_a = y_a + dtheta x x_a``, ``y_a = Q (dR_a - dR_0)``, where the rotation
keeps the conditions satisfied:

.. math::

    C_{ka} = \partial c_k/\partial x_a, \quad A_{kj} = \sum_a C_{ka}\cdot(e_j \times x_a), \quad
    \tau = \sum_a x_a \times g_a, \quad A^T \lambda = \tau, \quad
    h_a = g_a - \sum_k \lambda_k C_{ka}, \quad F_{\pi(a)} = -Q^T \Big(h_a - w_a \sum_b h_b\Big).

These forces are the exact gradient of E(R): they have neither net force nor net torque.

The axis of a linear molecule takes two conditions.  The third equation for the rotation is then the rule by which the frame
turns about the axis, ``n . dtheta = 0``: n is the third row of A, no C belongs to it, and h has no term of it.  Ebar may depend
on a rotation about the axis, as energies on a grid do, and the forces then have a torque about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mpiqmd.errors import GeometryError

_FORWARD, _BACKWARD = np.array([5, 6, 1]), np.array([7, 2, 3])
"""Elements yz, zx, xy and zy, xz, yx of a flattened 3 x 3 matrix."""
SMALLEST_GAP = 1e-6
"""Relative gap of the quaternion matrix below which the best rotation is not unique."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Body coordinates of one geometry and the way back. Not collective; replicated.

    Parameters
    ----------
    body_positions_av
        Coordinates x in the body frame, shape (N, 3), bohr.
    rotation_vv
        Orthogonal Q of ``x_a = Q (R_pi(a) - R_0)``, shape (3, 3); improper if the frame folds by a mirror.
    origin_v
        R_0, shape (3,), bohr.
    permutation_a
        Body atom a is laboratory atom ``permutation_a[a]``, shape (N,).
    origin_weights_a
        Weights w of the origin, in the order of the body, sum 1; None for an origin that does not move with
        the atoms.
    condition_gradients_kav
        Gradients C of the orientation conditions, shape (n_conditions, N, 3), three or, of an axis, two; None for a frame
        that does not turn.
    no_turn_v
        n, about which the frame of an axis does not turn, shape (3,), without unit; zero with three conditions.
    """

    body_positions_av: np.ndarray
    rotation_vv: np.ndarray
    origin_v: np.ndarray
    permutation_a: np.ndarray
    origin_weights_a: np.ndarray | None = None
    condition_gradients_kav: np.ndarray | None = None
    no_turn_v: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def gradient_forces(self, body_gradient_av: np.ndarray) -> np.ndarray:
        """Return the forces ``-dE/dR`` of ``E(R) = Ebar(x(R))`` in laboratory order, shape (N, 3), Ha/bohr.

        ``body_gradient_av`` is dEbar/dx, shape (N, 3).  The derivative of the frame is included (equation of
        the module), so that net force and, with three conditions, torque vanish to round-off. Not collective.
        """
        gradient_av = np.array(body_gradient_av, dtype=float)
        conditions_kav = self.condition_gradients_kav
        if conditions_kav is not None:
            multipliers_k = self._multipliers(gradient_av)
            flat = multipliers_k @ conditions_kav.reshape(len(conditions_kav), -1)
            gradient_av -= flat.reshape(gradient_av.shape)
        if self.origin_weights_a is not None:
            gradient_av -= self.origin_weights_a[:, None] * np.add.reduce(gradient_av)
        return self.rotated_forces(gradient_av)

    def rotated_forces(self, body_gradient_av: np.ndarray) -> np.ndarray:
        """Return ``-Q^T dEbar/dx`` in laboratory order, shape (N, 3), Ha/bohr.

        The Hellmann-Feynman forces turned back without the derivative of the frame: with a truncated basis
        they are not the gradient of the energy and leave a net force and torque. Not collective.
        """
        forces_av = np.empty((len(self.permutation_a), 3))
        forces_av[self.permutation_a] = -(body_gradient_av @ self.rotation_vv)
        return forces_av

    def laboratory_vector(self, body_vector_v: np.ndarray) -> np.ndarray:
        """Return a vector of the body frame in laboratory components ``Q^T d``, shape (3,), in its unit.  Not collective."""
        return body_vector_v @ self.rotation_vv

    def dipole(self, body_dipole_v: np.ndarray) -> np.ndarray:
        """Return a dipole moment of the frame in laboratory components, shape (3,), atomic units.  Not collective."""
        return self.laboratory_vector(body_dipole_v)

    def _multipliers(self, gradient_av: np.ndarray) -> np.ndarray:
        """lambda of ``A^T lambda = tau``, one for each condition."""
        torque_v = _moment(self.body_positions_av, gradient_av)
        # C . (e_j x x) = e_j . (x x C), so each row of A is a sum of cross products
        matrix_kv = _moment(self.body_positions_av, self.condition_gradients_kav)
        if len(matrix_kv) == 2:
            return np.linalg.solve(np.vstack([matrix_kv, self.no_turn_v]).T, torque_v)[:2]
        return np.linalg.solve(matrix_kv.T, torque_v)


def best_rotation(positions_av: np.ndarray, reference_av: np.ndarray, weights_a: np.ndarray) -> np.ndarray:
    """Return the proper rotation Q that takes positions closest to a reference, shape (3, 3), no unit. Not collective.

    Minimises ``sum_a w_a |Q r_a - s_a|^2`` for positions r and reference s, both relative to the same
    origin.  Q comes from the eigenvector of the largest eigenvalue of the 4 x 4 quaternion matrix of B. K. P.
    Horn, J. Opt. Soc. Am. A 4, 629 (1987), and never reflects.

    Raises
    ------
    GeometryError
        The two largest eigenvalues coincide, as for collinear points: the rotation is not unique.
    """
    m = (weights_a[:, None] * positions_av).T @ reference_av
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    quaternion_matrix = np.empty((4, 4))
    quaternion_matrix[0, 0] = trace
    quaternion_matrix[0, 1:] = quaternion_matrix[1:, 0] = _antisymmetric(m)
    quaternion_matrix[1:, 1:] = m + m.T - trace * np.eye(3)
    values, vectors = np.linalg.eigh(quaternion_matrix)
    gap = (values[3] - values[2]) / max(values[3], np.finfo(float).tiny)
    if not gap > SMALLEST_GAP:
        raise GeometryError(
            f"the orientation of the molecule is not defined: relative eigenvalue gap {gap:.3g}; more than "
            f"{SMALLEST_GAP:g} is needed. A bent molecule that became straight, or one that was turned inside out, "
            "has no body frame here; choose another reference geometry."
        )
    return rotation_from_quaternion(vectors[:, 3])


def shortest_rotation(from_v: np.ndarray, to_v: np.ndarray) -> np.ndarray:
    """Return the rotation by the smallest angle that takes one unit vector to another, shape (3, 3), no unit. Not collective.

    Half a turn about the first, then half a turn about the direction between them; any across it if they are opposite.
    """
    between_v = from_v + to_v
    if between_v @ between_v < SMALLEST_GAP**2:
        least_v = np.eye(3)[np.abs(from_v).argmin()]
        between_v = least_v - (least_v @ from_v) * from_v
    half_turn_vv = 2.0 * np.outer(between_v, between_v) / (between_v @ between_v) - np.eye(3)
    return half_turn_vv @ (2.0 * np.outer(from_v, from_v) - np.eye(3))


def rotation_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """Return the proper rotation matrix of a unit quaternion (scalar first), shape (3, 3), without unit. Not collective."""
    scalar, vector = quaternion[0], quaternion[1:]
    cross_vv = np.array([[0.0, -vector[2], vector[1]], [vector[2], 0.0, -vector[0]], [-vector[1], vector[0], 0.0]])
    return (scalar**2 - vector @ vector) * np.eye(3) + 2.0 * np.outer(vector, vector) + 2.0 * scalar * cross_vv


def cross(first_v: Sequence[float], second_v: Sequence[float]) -> list[float]:
    """Return the cross product of one pair of vectors in plain floats, quicker than NumPy does it. Not collective."""
    (a, b, c), (x, y, z) = first_v, second_v
    return [b * z - c * y, c * x - a * z, a * y - b * x]


def _moment(positions_av: np.ndarray, vectors_av: np.ndarray) -> np.ndarray:
    """``sum_a x_a x v_a`` for vectors of shape (..., N, 3); as a product of matrices."""
    return _antisymmetric(positions_av.T @ vectors_av)


def _antisymmetric(matrix: np.ndarray) -> np.ndarray:
    """The vector of the antisymmetric part of matrices of shape (..., 3, 3)."""
    flat = matrix.reshape(*matrix.shape[:-2], 9)
    return flat[..., _FORWARD] - flat[..., _BACKWARD]
