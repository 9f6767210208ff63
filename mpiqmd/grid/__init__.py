"""Functions distributed over the real-space grid, and the operators that act on them.

The only package that touches PETSc's and SLEPc's objects.  A :class:`Grid` knows the cell, the spacing and which
block of points each rank owns; a :class:`Field` is one function on it, :class:`Orbitals` a block of functions.
Arrays are ordered ``[z, y, x]`` (x fastest), vectors ``(x, y, z)``.  Numbers leave this package replicated, and only
through ``inner``, ``norm``, ``integrate``, ``gram`` and ``gather``.  May import ``parallel`` and ``errors``.
"""

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.grid import Grid

__all__ = ["Field", "Grid", "Orbitals"]
