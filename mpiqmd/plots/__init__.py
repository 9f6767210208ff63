"""Figures from result files: matplotlib only, no MPI, no PETSc, no display.

Every function returns a matplotlib ``Figure`` made without pyplot, so nothing global is touched;
:func:`mpiqmd.plots.style.save_figure` writes it.  May import ``md`` (trajectories, observables) and
``units``.
"""
