"""Symmetry operations of a molecule that are exact on an orthogonal grid: flips of the signs of the axes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from mpiqmd.molecule.molecule import Molecule

Mirror = tuple[np.ndarray, np.ndarray]


def grid_mirrors(molecule: Molecule, tolerance: float = 1e-3) -> list[Mirror]:
    """Return the sign flips ``diag(+-1, +-1, +-1)`` that map a molecule onto itself. Not collective.

    Parameters
    ----------
    molecule
        The molecule in its body frame: flips are about the origin.
    tolerance
        Largest distance in bohr between a flipped atom and the atom it is taken for.

    Returns
    -------
    List of (signs, permutation), the identity left out, single mirrors first: flipping atom a by ``signs``
    (shape (3,), +-1.0) brings it onto atom ``permutation[a]``, an atom of the same element and mass.  Water
    in the bisector frame has three: the mirrors of y and of z, and the half turn about x that is their
    product.
    """
    operations = sorted(product((1.0, -1.0), repeat=3), key=lambda signs: (signs.count(-1.0), signs))
    mirrors = []
    for signs in operations[1:]:
        permutation_a = _matching(molecule, np.array(signs), tolerance)
        if permutation_a is not None:
            mirrors.append((np.array(signs), permutation_a))
    return mirrors


def mirror_image(positions_av: np.ndarray, mirror: Mirror) -> np.ndarray:
    """Return the flipped positions (N, 3), bohr, with the atoms in their usual order. Not collective."""
    signs_v, permutation_a = mirror
    image_av = np.empty_like(positions_av)
    image_av[np.asarray(permutation_a, int)] = positions_av * signs_v
    return image_av


def symmetrised(molecule: Molecule, mirrors: Sequence[Mirror]) -> Molecule:
    """Return the molecule with the mean of its positions and their images under a group of mirrors. Not collective."""
    images = [molecule.positions_av, *(mirror_image(molecule.positions_av, mirror) for mirror in mirrors)]
    return molecule.with_positions(np.mean(images, axis=0))


def symmetrised_hessian(hessian_cc: np.ndarray, mirrors: Sequence[Mirror]) -> np.ndarray:
    """Return the mean of second derivatives (3 N, 3 N) and their images under a group of mirrors. Not collective.

    In Ha/bohr^2, as given.  Its eigenvectors then have definite parities, also where frequencies coincide.
    """
    count = len(hessian_cc) // 3
    images = [hessian_cc]
    for signs_v, permutation_a in mirrors:
        places = np.arange(3 * count).reshape(count, 3)[np.asarray(permutation_a, int)].ravel()
        signs_c = np.tile(signs_v, count)
        image_cc = np.empty_like(hessian_cc)
        image_cc[np.ix_(places, places)] = hessian_cc * np.outer(signs_c, signs_c)
        images.append(image_cc)
    return np.mean(images, axis=0)


def standard_orientation(molecule: Molecule, tolerance: float = 1e-3) -> Molecule:
    """Return the molecule about its centre of mass, principal axes along x, y, z. Not collective.

    Moments grow from x to z, so a planar molecule lies in z = 0.  Where moments coincide (relative difference
    below ``tolerance``) the axes are chosen so that an atom off the symmetry axis lies in a coordinate plane,
    which makes the mirror planes of symmetric tops visible to ``grid_mirrors``.
    """
    centred_av = molecule.positions_av - molecule.centre_of_mass_v
    weighted_av = molecule.masses_a[:, None] * centred_av
    # eigenvectors of the scatter matrix are those of the inertia tensor, in the opposite order
    moments_v, axes_vv = np.linalg.eigh(weighted_av.T @ centred_av)
    moments_v, axes_vv = moments_v[::-1], axes_vv[:, ::-1]
    body_av = centred_av @ axes_vv
    scale = max(moments_v[0], np.finfo(float).tiny)
    for first, second in ((0, 1), (1, 2)):
        if abs(moments_v[first] - moments_v[second]) < tolerance * scale:
            body_av = _turn_atom_into_plane(body_av, first, second)
            break
    if np.linalg.det(axes_vv) < 0:
        body_av[:, 2] *= -1.0
    return molecule.with_positions(body_av)


def _turn_atom_into_plane(body_av: np.ndarray, first: int, second: int) -> np.ndarray:
    """Turn in the plane of two axes until the atom farthest out has no component along the second."""
    in_plane_av = body_av[:, [first, second]]
    along_x, along_y = in_plane_av[np.argmax((in_plane_av**2).sum(axis=1).round(6))]
    angle = np.arctan2(along_y, along_x)
    turned_av = body_av.copy()
    turned_av[:, first] = np.cos(angle) * in_plane_av[:, 0] + np.sin(angle) * in_plane_av[:, 1]
    turned_av[:, second] = np.cos(angle) * in_plane_av[:, 1] - np.sin(angle) * in_plane_av[:, 0]
    return turned_av


def _matching(molecule: Molecule, signs_v: np.ndarray, tolerance: float) -> np.ndarray | None:
    """The permutation that a sign flip induces, or None if it is no symmetry."""
    flipped_av = molecule.positions_av * signs_v
    distances_aa = np.linalg.norm(flipped_av[:, None, :] - molecule.positions_av[None, :, :], axis=2)
    permutation_a = distances_aa.argmin(axis=1)
    found = distances_aa.min(axis=1) <= tolerance
    same = [
        molecule.symbols[atom] == molecule.symbols[image] and molecule.masses_a[atom] == molecule.masses_a[image]
        for atom, image in enumerate(permutation_a)
    ]
    one_to_one = len(set(permutation_a.tolist())) == len(molecule)
    return permutation_a if found.all() and all(same) and one_to_one else None
