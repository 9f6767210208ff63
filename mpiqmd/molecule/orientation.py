"""How a molecule lies when a reduced model of it is made, and the frame about that orientation.

The grid keeps the symmetry operations of a molecule that permute its axes and flip their signs (``molecule.symmetry``).  Every
one of them makes another training geometry of each that is solved, so a molecule is laid down where it shows most of them:
principal axes along x, y, z, or, of a symmetric or spherical top, an axis along the diagonal of the cell.  The axis of a linear
molecule lies along x, and y and z, if their sides are equal, may be exchanged.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from mpiqmd.molecule.body_surface import MovingFrame
from mpiqmd.molecule.frame import BisectorFrame, make_frame
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.linear import LinearFrame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import CUBE, grid_symmetries, symmetrised

ALMOST_SYMMETRIC = 0.02
"""Distance (bohr) up to which a molecule is taken to be symmetric."""
EQUAL_MOMENTS = (1e-3, 3e-2)
"""Relative differences up to which two moments of inertia are taken to be equal; what shows more operations is kept."""
_DIAGONAL_V = np.ones(3) / np.sqrt(3.0)
_BESIDE_V = np.array([-1.0, -1.0, 2.0]) / np.sqrt(6.0)


def oriented(molecule: Molecule, sides: Sequence[Hashable] = CUBE) -> Molecule:
    """Return the molecule in the body frame of its training, as symmetric as it nearly is, where the grid shows most of it.

    Not collective.  ``sides`` tells the sides of the cell apart.  Raises GeometryError if it has no body frame.
    """
    frame = make_frame(molecule)
    body = molecule.with_positions(frame.align(molecule.positions_av).body_positions_av)
    if isinstance(frame, BisectorFrame):
        return body
    candidates = [body] if isinstance(frame, LinearFrame) else list(orientations(molecule, sides))
    symmetries = [grid_symmetries(candidate, sides, ALMOST_SYMMETRIC) for candidate in candidates]
    best = max(range(len(candidates)), key=lambda index: len(symmetries[index]))
    return symmetrised(candidates[best], symmetries[best])


def moving_frame(molecule: Molecule, sides: Sequence[Hashable], cell_v: np.ndarray | None) -> MovingFrame:
    """Return the body frame of a molecule, which takes out the grid's dependence on its orientation.

    Not collective.  ``sides`` tells the sides of the cell apart.  A molecule that is spread over the images of a periodic cell
    with edges ``cell_v`` is put together first.
    """
    together = molecule.with_positions(whole(molecule.positions_av, cell_v))
    return MovingFrame(make_frame(oriented(together, sides)), cell_v)


def standard_orientation(molecule: Molecule, tolerance: float = 1e-3) -> Molecule:
    """Return the molecule about its centre of mass, principal axes along x, y, z. Not collective.

    Moments grow from x to z, so a planar molecule lies in z = 0.  Where moments coincide (relative difference
    below ``tolerance``) the axes are chosen so that an atom off the symmetry axis lies in a coordinate plane,
    which makes the mirror planes of symmetric tops visible to ``grid_symmetries``.
    """
    moments_v, body_av = _principal(molecule)
    pair = _equal_pair(moments_v, tolerance)
    return molecule.with_positions(body_av if pair is None else _turn_atom_into_plane(body_av, *pair))


def orientations(molecule: Molecule, sides: Sequence[Hashable]) -> Iterator[Molecule]:
    """Yield the molecule in standard orientations, and with an axis of a top along the diagonal of its cell.

    A spherical top lies so in any cell, since its principal axes are any; a symmetric top in a cube.
    """
    moments_v, body_av = _principal(molecule)
    pair = _equal_pair(moments_v, max(EQUAL_MOMENTS))
    is_spherical = np.ptp(moments_v) < max(EQUAL_MOMENTS) * moments_v.max()
    if not is_spherical:
        yield from (standard_orientation(molecule, tolerance) for tolerance in EQUAL_MOMENTS)
    if pair is None or (len(set(sides)) > 1 and not is_spherical):
        return
    unique_v = _directed(np.eye(3)[3 - sum(pair)], body_av)
    for axis_v in [position_v for position_v in body_av if _is_direction(position_v)] if is_spherical else [unique_v]:
        for beside_v in body_av:
            across_v = beside_v - (beside_v @ axis_v) * axis_v / (axis_v @ axis_v)
            if _is_direction(across_v):
                yield molecule.with_positions(body_av @ _onto_diagonal(axis_v, across_v))


def _directed(axis_v: np.ndarray, body_av: np.ndarray) -> np.ndarray:
    """Return an axis in the direction of the first atom that tells its ends apart: eigenvectors come with any sign.

    The two directions along the diagonal of a cell are not alike: an inversion also turns what is across.
    """
    along_a = body_av @ axis_v
    telling = np.flatnonzero(np.abs(along_a) > ALMOST_SYMMETRIC)
    return -axis_v if len(telling) and along_a[telling[0]] < 0.0 else axis_v


def _onto_diagonal(axis_v: np.ndarray, across_v: np.ndarray) -> np.ndarray:
    """Return the rotation (for rows from the right) of an axis onto the diagonal, and of what is across it towards z."""
    there = np.array([axis_v / np.linalg.norm(axis_v), across_v / np.linalg.norm(across_v), np.zeros(3)])
    here = np.array([_DIAGONAL_V, _BESIDE_V, np.zeros(3)])
    there[2], here[2] = np.cross(there[0], there[1]), np.cross(here[0], here[1])
    return there.T @ here


def _is_direction(vector_v: np.ndarray) -> bool:
    return float(np.linalg.norm(vector_v)) > ALMOST_SYMMETRIC


def _principal(molecule: Molecule) -> tuple[np.ndarray, np.ndarray]:
    """Return what ``sum_a M_a r_a r_a`` amounts to along its axes, descending, and positions along them, not reflected."""
    centred_av = molecule.positions_av - molecule.centre_of_mass_v
    weighted_av = molecule.masses_a[:, None] * centred_av
    # eigenvectors of the scatter matrix are those of the inertia tensor, in the opposite order
    moments_v, axes_vv = np.linalg.eigh(weighted_av.T @ centred_av)
    moments_v, axes_vv = moments_v[::-1], axes_vv[:, ::-1]
    # eigenvectors come with any sign, which round-off would choose
    first_v, second_v = (_directed(axis_v, centred_av) for axis_v in axes_vv.T[:2])
    return moments_v, centred_av @ np.array([first_v, second_v, np.cross(first_v, second_v)]).T


def _equal_pair(moments_v: np.ndarray, tolerance: float) -> tuple[int, int] | None:
    """Return the first two neighbouring axes about which moments coincide."""
    scale = max(float(moments_v.max()), np.finfo(float).tiny)
    pairs = [(0, 1), (1, 2)]
    return next((pair for pair in pairs if abs(moments_v[pair[0]] - moments_v[pair[1]]) < tolerance * scale), None)


def _turn_atom_into_plane(body_av: np.ndarray, first: int, second: int) -> np.ndarray:
    """Turn in the plane of two axes until the atom farthest out has no component along the second."""
    in_plane_av = body_av[:, [first, second]]
    along_x, along_y = in_plane_av[np.argmax((in_plane_av**2).sum(axis=1).round(6))]
    angle = np.arctan2(along_y, along_x)
    turned_av = body_av.copy()
    turned_av[:, first] = np.cos(angle) * in_plane_av[:, 0] + np.sin(angle) * in_plane_av[:, 1]
    turned_av[:, second] = np.cos(angle) * in_plane_av[:, 1] - np.sin(angle) * in_plane_av[:, 0]
    return turned_av
