"""mpiqmd: quantum molecular dynamics accelerated by model order reduction.

The pipeline reads down the packages: ``sampling`` chooses geometries, ``hifi`` solves them on the full grid,
``rom`` compresses the orbitals and solves in their span, ``md`` moves the nuclei on either surface.
``kohnsham`` holds the physics they share, ``grid`` the distributed functions, ``molecule`` the replicated nuclei.
Hartree atomic units everywhere.
"""

__version__ = "0.1.0"
