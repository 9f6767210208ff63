"""What is asked of a surface at single geometries, without time: minima, vibrations, checks, and lists of geometries.

As in ``md``, nothing here knows electrons: a :class:`~mpiqmd.molecule.surface.Surface` turns positions into an energy and
forces, collectively; only the egg-box knows of the grid behind it what net force is too much.  Evaluations that are dear are
kept in a journal, so that what was killed goes on.  May import ``kohnsham`` and what is below it.
"""
