"""What the files of all grid-free models have in common: named arrays that must fit each other, and the boxes of atoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mpiqmd.datafiles import Shapes, Unfit
from mpiqmd.rom.learned.chebyshev import MOST_NODES, ChebyshevBox


class Assembly:
    """Takes named arrays from a file; the kernels trust their sizes, so all of them are checked here.  Not collective."""

    def __init__(self, named: Mapping[str, np.ndarray]) -> None:
        self.named, self.shapes = named, Shapes()

    def take(self, name: str, axes: str, integer: bool = False) -> np.ndarray:
        """Return a stored array with these axes, its shape and unit as the file has them, contiguous; without axes, a scalar.

        Raises KeyError or ValueError where it is missing or does not fit.
        """
        # ascontiguousarray would give a scalar one axis
        return np.asarray(self.shapes.numbers(name, self.named[name], axes, integer), order="C")

    def boxes(self) -> list[ChebyshevBox]:
        """Return where each atom may be, with a possible number of nodes.  Raises Unfit."""
        count = sum(name.startswith("boxes/") for name in self.named)
        corners = [self.take(f"boxes/{a}", "3 3") for a in range(count)]
        for lower_v, upper_v, nodes in corners:
            possible = (nodes == np.round(nodes)) & (nodes >= 2) & (nodes <= MOST_NODES)
            if not possible.all() or (upper_v < lower_v).any():
                raise Unfit(f"a box from {lower_v} to {upper_v} with {nodes} nodes")
        return [ChebyshevBox(lower_v, upper_v, (int(x), int(y), int(z))) for lower_v, upper_v, (x, y, z) in corners]


def box_arrays(boxes: Sequence[ChebyshevBox]) -> dict[str, np.ndarray]:
    """Return what :meth:`Assembly.boxes` reads, by path: rows lower corner, upper corner (bohr) and nodes, shape (3, 3)."""
    return {f"boxes/{a}": np.array([box.lower_v, box.upper_v, box.nodes_v]) for a, box in enumerate(boxes)}
