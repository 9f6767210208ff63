"""Atoms that an operation takes into each other have the same tables, but for signs.

With ``x' = g x``, ``u'_v = s_v u_axes[v]`` in the box of the other atom, and functions and modes that are even or odd under g,

    l'_f(x') = χ_f l_f(x),     T_j(u_axes[v]) = s_v^j T_j(u'_v),
    V'_kk' = χ_k χ_k' V_kk',   dV'/dx'_v = s_v χ_k χ_k' dV/dx_axes[v]

so that only one of them is made on the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.species import Species
from mpiqmd.rom.learned.tabulate import Tabulated

SAME_BOX = 1e-6
"""By how much corners of a box may be off the image of those of another, bohr: tables are smooth, this changes no digit."""


def equivalent(boxes: Mapping[int, ChebyshevBox], species: Species) -> dict[int, tuple[int, int, Symmetry]]:
    """Return the atoms that are images of earlier ones: of which, by which operation, and the bits of what it is made of.

    Not collective.  ``boxes`` are where atoms may be.
    """
    found: dict[int, tuple[int, int, Symmetry]] = {}
    for a, box in boxes.items():
        for bits, symmetry in species.group():
            other = int(symmetry.permutation_a[a])
            is_new = other > a and other in boxes and other not in found
            if a not in found and is_new and _is_image(box, boxes[other], symmetry):
                found[other] = a, bits, symmetry
    return found


def _is_image(box: ChebyshevBox, other: ChebyshevBox, symmetry: Symmetry) -> bool:
    """Return whether an operation takes a box into another with as many nodes."""
    corners = np.sort([symmetry.turn(box.lower_v), symmetry.turn(box.upper_v)], axis=0)
    nodes_v = tuple(box.nodes_v[axis] for axis in symmetry.axes)
    return nodes_v == other.nodes_v and bool(np.abs(corners - [other.lower_v, other.upper_v]).max() < SAME_BOX)


def image_of(made: Tabulated, box: ChebyshevBox, symmetry: Symmetry, parity_f: np.ndarray, parity_k: np.ndarray) -> Tabulated:
    """Return tables and matrices of the atom into which an operation takes another.  Not collective.

    The overlaps of its projectors are left out.

    Parameters
    ----------
    made, box
        Those of the other atom, and the box of this one.
    symmetry
        The operation.
    parity_f, parity_k
        What it does to density functions and active modes, +1 or -1.
    """
    axes, signs_v = list(symmetry.axes), symmetry.signs_v
    degrees_kv = made.ion.degrees_kv[:, axes]
    left_kj = made.ion.left_kj * np.prod(signs_v**degrees_kv, axis=1)[:, None]
    right_jf = made.ion.right_jf * np.append(parity_f, 1.0)
    index = int(symmetry.permutation_a[made.ion.index])
    ion = replace(made.ion, index=index, box=box, degrees_kv=degrees_kv, left_kj=left_kj, right_jf=right_jf)
    both_kk = parity_k[:, None] * parity_k
    return replace(
        made, ion=ion, mean_kk=made.mean_kk * both_kk, slopes_vkk=signs_v[:, None, None] * made.slopes_vkk[axes] * both_kk
    )
