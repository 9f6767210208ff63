"""Images of functions under operations that exchange the axes of a cell and flip their signs, exact on the grid.

    (g φ)(r) = φ(g^-1 r),     (g r)_v = s_v r_axes[v]

An isolated grid is symmetric about the origin: of its n points the i-th goes to n - 1 - i under a flip.  The i-th point of a
periodic one, at ``-L/2 + i h``, goes to (n - i) mod n.  No interpolation either way.  Axes that are exchanged have the same
edges and points.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid


def image(orbitals: Orbitals, axes: Sequence[int], signs_v: Sequence[float]) -> Orbitals:
    """Return the images of functions under one operation.  Collective.

    Parameters
    ----------
    orbitals
        The functions.
    axes, signs_v
        Which axis (x, y, z are 0, 1, 2) the coordinate v of the image of a point is taken from, and its sign, +1 or -1.

    Raises
    ------
    ValueError
        These are no operation of the grid.
    """
    grid, axes, signs = orbitals.grid, tuple(int(axis) for axis in axes), tuple(int(sign) for sign in signs_v)
    if sorted(axes) != [0, 1, 2] or len(signs) != 3 or any(sign not in (-1, 1) for sign in signs):
        raise ValueError(f"axes {axes}, signs {signs}: an order of 0, 1, 2 and three signs, each +1 or -1, are needed.")
    if any(grid.sides[v] != grid.sides[axes[v]] for v in range(3)):
        raise ValueError(f"axes {axes}: sides of the grid that differ cannot be exchanged.")
    move = _Move(grid, tuple(2 - axes[2 - k] for k in range(3)), tuple(signs[2 - k] < 0 for k in range(3)))
    block = orbitals.local
    if grid.comm.size == 1:
        return Orbitals(grid, _taken(block, move, move.everything, (0, 0, 0)))
    return Orbitals(grid, _traded(grid, block, move))


def even_or_odd(orbitals: Orbitals, axes: Sequence[int], signs_v: Sequence[float], parity: int) -> Orbitals:
    """Return ``(φ ± g φ) / 2``: what functions have that a twofold operation leaves (parity 1), or changes the sign of (-1).

    Collective.  Raises what :func:`image` raises.
    """
    part = image(orbitals, axes, signs_v)
    part.local *= parity
    part.local += orbitals.local
    part.local *= 0.5
    return part


def flipped_places(grid: Grid, axis: int) -> np.ndarray:
    """Return the index of every point's mirror image along an array axis (0 is z), shape (points,).  Not collective."""
    n = grid.shape[axis]
    return (n - np.arange(n)) % n if grid.is_periodic else np.arange(n)[::-1]


def image_points(grid: Grid, points: np.ndarray, axes: Sequence[int], signs_v: Sequence[float]) -> np.ndarray:
    """Return where an operation takes global grid points, shape (points,): indices of the flattened grid.  Not collective."""
    place_k, image_k = np.unravel_index(points, grid.shape), [np.zeros(0, int)] * 3
    for v in range(3):
        # the coordinate v of the image is that along axes[v]; array axes are z, y, x
        place = place_k[2 - axes[v]]
        image_k[2 - v] = flipped_places(grid, 2 - v)[place] if signs_v[v] < 0 else place
    return np.ravel_multi_index(image_k, grid.shape)


class _Move:
    """Where the values of an image come from, axis by axis.

    ``from_axis`` is the array axis of the function that runs along each array axis (z, y, x) of the image, ``places`` the index
    along it for every index of the image.
    """

    def __init__(self, grid: Grid, from_axis: tuple[int, ...], flips: tuple[bool, ...]) -> None:
        self.from_axis = from_axis
        self.places = [flipped_places(grid, k) if flips[k] else np.arange(grid.shape[k]) for k in range(3)]
        self.everything = tuple(slice(0, n) for n in grid.shape)

    def meeting(self, image_box: tuple[slice, ...], own_box: tuple[slice, ...]) -> list[np.ndarray]:
        """Return the indices, along the axes of the image, of points in one box whose values lie in another."""
        result = []
        for k in range(3):
            places, own = self.places[k][image_box[k]], own_box[self.from_axis[k]]
            result.append(image_box[k].start + np.flatnonzero((places >= own.start) & (places < own.stop)))
        return result


def _taken(block: np.ndarray, move: _Move, wanted: Sequence[slice | np.ndarray], start: Sequence[int]) -> np.ndarray:
    """Return the image's values at wanted indices (z, y, x) from a block that begins at ``start``."""
    along = {move.from_axis[k]: move.places[k][wanted[k]] for k in range(3)}
    values = block[(slice(None), *np.ix_(*(along[axis] - start[axis] for axis in range(3))))]
    return values.transpose(0, *(1 + axis for axis in move.from_axis))


def _traded(grid: Grid, block: np.ndarray, move: _Move) -> np.ndarray:
    """Return this rank's block of the image: every rank sends what others have of it.  Collective."""
    comm, boxes = grid.comm, grid.comm.allgather(grid.local_slices)
    own = boxes[comm.rank]
    outgoing = [_taken(block, move, move.meeting(box, own), grid.start).ravel() for box in boxes]
    arriving = [move.meeting(own, box) for box in boxes]
    shapes = [(len(block), *map(len, indices)) for indices in arriving]
    sizes = [int(np.prod(shape)) for shape in shapes]
    received = np.empty(sum(sizes))
    comm.Alltoallv([np.concatenate(outgoing), [len(piece) for piece in outgoing]], [received, sizes])
    result = np.empty_like(block)
    for piece, shape, indices in zip(np.split(received, np.cumsum(sizes)[:-1]), shapes, arriving, strict=True):
        local = [index - start for index, start in zip(indices, grid.start, strict=True)]
        result[(slice(None), *np.ix_(*local))] = piece.reshape(shape)
    return result
