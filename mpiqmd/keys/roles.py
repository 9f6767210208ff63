"""What a key of the input may decide: the words for it, from which follows what runs that are continued must share.

A key says its role where it is declared, or has that of the registry it belongs to.
"""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal[
    "solve",
    "surface",
    "laboratory",
    "model",
    "compile",
    "watch",
    "dynamics",
    "training",
    "training solve",
    "basis",
    "geometries",
    "physics",
    "free",
]
"""What a key decides.

solve           how one geometry is solved in full; snapshots count their orbitals themselves
surface         what else decides Hi-Fi energies and forces
laboratory      what forces Hi-Fi makes of a gradient
model           how a reduced model is evaluated
compile         that, and what is learned offline for it
watch           which errors of a model are watched for, and when it is left for Hi-Fi: trajectories mark such steps, and may
                go on so
dynamics        how the nuclei move
training        which geometries a reduced model is made of, and how they are closed under symmetry
training solve  how tightly those are solved
basis           how many modes are kept
geometries      which geometries are evaluated: journals compare the geometries themselves
physics         compared as what it makes: the model's signature, masses and positions of the molecule
free            how long to go on, how often to save, what to check: no number depends on it
"""
ROLES: tuple[Role, ...] = get_args(Role)
"""All of them."""
