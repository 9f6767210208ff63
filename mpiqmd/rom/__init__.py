"""Model order reduction: from snapshots of the full solver to forces from small matrices.

Offline: ``snapshots`` keeps the solved geometries, ``basis`` compresses them to modes, ``model`` is the file
that the online stage reads.  Online: ``grid_model`` evaluates the energy of a density matrix over the modes
on the grid, ``online`` minimises it and carries energy and forces through the body frame; ``compiled`` does
the same without the grid.  May import ``kohnsham``, ``sampling`` and what is below them, but not ``hifi`` or
``md``.
"""
