"""Body frames: coordinates of the nuclei that do not change when the molecule moves rigidly.

Reduced modes are fixed in the body frame, so every geometry is aligned before the online solve and forces are
carried back (``rigid`` has the algebra).  Three frames: the bisector frame of bent XY2 molecules, as
published for water; that of the axis of linear molecules; the Eckart frame about a reference geometry for everything else.
"""

from __future__ import annotations

from math import cos, sin
from typing import Protocol

import numpy as np

from mpiqmd.errors import ConfigError, GeometryError
from mpiqmd.molecule.bent import bent_coordinates, water_positions
from mpiqmd.molecule.linear import LinearFrame, linear_axis
from mpiqmd.molecule.molecule import Molecule, require_positions
from mpiqmd.molecule.rigid import Alignment, best_rotation, cross

SMALLEST_ANGLE = np.radians(0.5)
LARGEST_ANGLE = np.radians(179.5)

_MIRROR_V = np.array([1.0, -1.0, 1.0])


class BodyFrame(Protocol):
    """A rule that orients nuclei; from its ``name`` and the reference ``make_frame`` builds it again.

    ``n_coordinates`` internal coordinates are left to body-frame positions.
    """

    name: str
    n_coordinates: int

    def align(self, positions_av: np.ndarray) -> Alignment:
        """Return body coordinates of positions of shape (N, 3), bohr, and the way back. Not collective.

        Raises GeometryError if they are not finite, or have no such frame.
        """
        ...


class BisectorFrame:
    """Frame of a bent XY2 molecule: X at the origin, the molecule in the plane z = 0, the bisector along +x.

    The first of the other two atoms is at ``+theta/2`` from the x axis, in the first quadrant, the second at
    ``-theta/2``.  The bisector is that of the bond directions, whatever the bond lengths.  As the molecule is
    planar, a mirror image has the same body coordinates.

    Parameters
    ----------
    vertex
        Index of the central atom.
    fold
        If the second bond is longer than the first, exchange the two atoms and mirror y, so that the longer
        bond is always in the first quadrant.  Halves the space of geometries, at the price of a kink in a
        model's energy where the bonds are equal unless its basis is mirror-symmetric.
    """

    def __init__(self, vertex: int = 0, fold: bool = False) -> None:
        self.vertex = vertex
        self.fold = fold
        self.name = "bisector-folded" if fold else "bisector"
        self.n_coordinates = 3
        self._arms = [atom for atom in range(3) if atom != vertex]
        self._weights_a = np.eye(3)[vertex]
        self._order_a = np.arange(3)
        self._planar_kav = np.zeros((3, 3, 3))
        self._planar_kav[[0, 1], self._arms, 2] = 1.0

    def align(self, positions_av: np.ndarray) -> Alignment:
        """Return the alignment of positions of shape (3, 3), bohr. Not collective.

        Raises
        ------
        GeometryError
            The bond angle is below 0.5 or above 179.5 degrees, or there are not three atoms.
        """
        positions_av = require_positions(positions_av)
        length_1, length_2, angle = self._checked_coordinates(positions_av)
        rotation_vv = self._rotation(positions_av.tolist(), length_1, length_2, angle)
        permutation_a = self._order_a
        if self.fold and length_2 > length_1:
            length_1, length_2 = length_2, length_1
            rotation_vv = _MIRROR_V[:, None] * rotation_vv
            permutation_a = permutation_a.copy()
            permutation_a[self._arms] = self._arms[::-1]
        return Alignment(
            body_positions_av=water_positions(length_1, length_2, angle, self.vertex),
            rotation_vv=rotation_vv,
            origin_v=positions_av[self.vertex].copy(),
            permutation_a=permutation_a,
            origin_weights_a=self._weights_a,
            condition_gradients_kav=self._condition_gradients(length_1, length_2, angle),
        )

    def _rotation(self, atoms: list[list[float]], length_1: float, length_2: float, angle: float) -> np.ndarray:
        """The unit vectors of the frame as rows."""
        # plain floats, as in `bent`; sum and difference of two unit vectors are orthogonal, 2 cos and 2 sin of theta/2 long
        origin, (first, second) = atoms[self.vertex], (atoms[arm] for arm in self._arms)
        along, across = 0.5 / cos(0.5 * angle), 0.5 / sin(0.5 * angle)
        pairs = [((a - o) / length_1, (b - o) / length_2) for o, a, b in zip(origin, first, second, strict=True)]
        x_v, y_v = [along * (a + b) for a, b in pairs], [across * (a - b) for a, b in pairs]
        return np.array([x_v, y_v, cross(x_v, y_v)])

    def _condition_gradients(self, length_1: float, length_2: float, angle: float) -> np.ndarray:
        """Gradients of z_1 = 0, z_2 = 0 and y_1 / L_1 + y_2 / L_2 = 0."""
        first, second = self._arms
        cosine, sine = cos(0.5 * angle), sin(0.5 * angle)
        gradients_kav = self._planar_kav.copy()
        gradients_kav[2, first, 0] = -sine * cosine / length_1
        gradients_kav[2, first, 1] = cosine**2 / length_1
        gradients_kav[2, second, 0] = sine * cosine / length_2
        gradients_kav[2, second, 1] = cosine**2 / length_2
        return gradients_kav

    def _checked_coordinates(self, positions_av: np.ndarray) -> tuple[float, float, float]:
        if positions_av.shape != (3, 3):
            raise GeometryError(
                f"the bisector frame was given positions of shape {positions_av.shape}; three atoms are "
                "needed. Use the Eckart frame for other molecules."
            )
        length_1, length_2, angle = bent_coordinates(positions_av, self.vertex)
        if not SMALLEST_ANGLE <= angle <= LARGEST_ANGLE:
            raise GeometryError(
                f"the bond angle is {np.degrees(angle):.4g} degrees; the bisector frame needs 0.5 to 179.5. "
                "If the molecule is linear, start from its straight geometry, about which it has a frame of its own; if it "
                "should be bent, check the geometry, or the step that led to it."
            )
        return length_1, length_2, angle


class EckartFrame:
    """Frame of a molecule about a reference geometry: ``sum_a M_a s_a x x_a = 0`` with reference positions s.

    Equal to the proper rotation that minimises ``sum_a M_a |x_a - s_a|^2``; smooth everywhere near the
    reference.  Atoms keep the order of the reference and the frame never reflects: for a planar reference, a
    geometry and its image in that plane have mirrored body coordinates.  The frame has the orientation of the
    reference as given.

    Parameters
    ----------
    reference
        Molecule at the reference geometry; its masses are the weights.
    pivot
        Index of an atom to put at the origin instead of the centre of mass.

    Raises
    ------
    GeometryError
        The reference is linear, or has fewer than three atoms.
    """

    def __init__(self, reference: Molecule, pivot: int | None = None) -> None:
        self.pivot = pivot
        self.name = "eckart" if pivot is None else f"eckart-{pivot}"
        self._masses_a = reference.masses_a
        self._weights_a = self._masses_a / self._masses_a.sum() if pivot is None else np.eye(len(reference))[pivot]
        self._reference_av = reference.positions_av - self._weights_a @ reference.positions_av
        self._order_a = np.arange(len(reference))
        self.n_coordinates = 3 * len(reference) - 6
        self._check(reference)
        # c_k = e_k . sum_a M_a s_a x x_a, so that C_ka = M_a e_k x s_a
        self._gradients_kav = np.cross(np.eye(3)[:, None, :], self._masses_a[:, None] * self._reference_av)

    def align(self, positions_av: np.ndarray) -> Alignment:
        """Return the alignment of positions of shape (N, 3), bohr. Not collective.

        Raises
        ------
        GeometryError
            The best rotation is not unique (linear geometry), or the number of atoms is not that of the
            reference.
        """
        positions_av = require_positions(positions_av)
        if positions_av.shape != self._reference_av.shape:
            raise GeometryError(
                f"the Eckart frame was given positions of shape {positions_av.shape}; the reference has "
                f"{self._reference_av.shape}. Align geometries of the same molecule only."
            )
        origin_v = self._weights_a @ positions_av
        centred_av = positions_av - origin_v
        rotation_vv = best_rotation(centred_av, self._reference_av, self._masses_a)
        return Alignment(
            body_positions_av=centred_av @ rotation_vv.T,
            rotation_vv=rotation_vv,
            origin_v=origin_v,
            permutation_a=self._order_a,
            origin_weights_a=self._weights_a,
            condition_gradients_kav=self._gradients_kav,
        )

    def _check(self, reference: Molecule) -> None:
        try:
            if len(reference) < 3:
                raise GeometryError("fewer than three atoms")
            best_rotation(self._reference_av, self._reference_av, self._masses_a)
        except GeometryError as error:
            raise GeometryError(
                f"the reference geometry of {reference.formula} has no Eckart frame: its atoms are on one line; "
                "three or more that are not are needed. A linear molecule has the frame 'linear'; if it should be bent, "
                "correct the geometry."
            ) from error


def make_frame(reference: Molecule, kind: str = "auto") -> BodyFrame:
    """Return the body frame of a molecule. Not collective.

    Parameters
    ----------
    reference
        The molecule at its reference geometry.
    kind
        ``"linear"``, ``"bisector"``, ``"bisector-folded"``, ``"eckart"``, ``"eckart-N"`` (atom N at the origin, not the centre
        of mass), or ``"auto"``: linear for a linear molecule, bisector for a bent one with two equal atoms around a different
        one, Eckart otherwise.

    Raises
    ------
    ConfigError
        The kind is unknown, or is not for this molecule.
    GeometryError
        The reference geometry has no frame of this kind.
    """
    vertex = _vertex(reference)
    if kind == "auto":
        kind = "linear" if linear_axis(reference.positions_av) is not None else "eckart" if vertex is None else "bisector"
    family, _, number = kind.partition("-")
    pivot = int(number) if family == "eckart" and number.isdigit() else None
    if kind == "linear":
        return LinearFrame(reference)
    if kind in ("bisector", "bisector-folded") and vertex is not None:
        frame = BisectorFrame(vertex, fold=kind == "bisector-folded")
        frame.align(reference.positions_av)
        return frame
    if kind == "eckart" or (pivot is not None and pivot < len(reference)):
        return EckartFrame(reference, pivot)
    raise ConfigError(
        f"body frame {kind!r} does not suit {reference.formula}; possible are linear (a linear molecule), bisector and "
        "bisector-folded (a bent XY2), eckart, and eckart-N with atom N of the molecule at the origin. Leave it at auto."
    )


def _vertex(reference: Molecule) -> int | None:
    """Index of the central atom of an XY2 molecule, or None if it is not one."""
    unique = [atom for atom, symbol in enumerate(reference.symbols) if reference.symbols.count(symbol) == 1]
    if len(reference) != 3 or len(unique) != 1:
        return None
    vertex = unique[0]
    length_1, length_2, _ = bent_coordinates(reference.positions_av, vertex)
    first_v, second_v = np.delete(reference.positions_av, vertex, axis=0)
    return vertex if max(length_1, length_2) < np.linalg.norm(first_v - second_v) else None
