"""Born-Oppenheimer dynamics of the nuclei: integrators, thermostats, observables, trajectories, restarts.

Nothing here knows electrons: a :class:`~mpiqmd.molecule.surface.Surface` turns positions into an energy and
forces, collectively; rank 0 integrates and writes, positions are broadcast.  May import ``molecule``,
``parallel`` and the ground floor.
"""
