"""Full-space solvers of the Kohn-Sham problem: orbitals free on the whole grid.

``abpg`` minimises the free energy directly, ``slepc`` iterates an eigenproblem to self-consistency; both return the same
:class:`~mpiqmd.kohnsham.ground_state.GroundState`.  May import ``kohnsham`` and everything below it.
"""
