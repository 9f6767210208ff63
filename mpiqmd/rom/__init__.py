"""Model order reduction: from snapshots of the full solver to forces from small matrices.

Offline: ``training`` solves geometries, which ``greedy`` may choose one by one, ``snapshots`` keeps them, ``offline``
compresses them to a ``basis`` and makes of it a ``model``, the file that the online stage reads; ``validation`` says how
good it is.  Online: ``online`` makes a surface of a model.  ``grid_model`` evaluates the energy of a density matrix over the
modes on the grid, ``grid_solver`` minimises it; ``learned`` does the same without the grid.  May import ``kohnsham``,
``sampling`` and what is below them, but not ``hifi`` or ``md``.
"""
