"""What registers itself, and the modules of mpiqmd that do: the one place to name a new one that comes with mpiqmd."""

from __future__ import annotations

from mpiqmd.keys.registry import Choices, Sections

THERMOSTATS = Choices(
    "thermostat",
    "dynamics",
    (
        "mpiqmd.md.thermostats.thermostat",
        "mpiqmd.md.thermostats.berendsen",
        "mpiqmd.md.thermostats.langevin",
        "mpiqmd.md.thermostats.csvr",
        "mpiqmd.md.thermostats.nose_hoover",
    ),
    section="md",
    key="thermostat",
    default="none",
)
SAMPLING_RULES = Choices(
    "sampling rule",
    "training",
    (
        "mpiqmd.sampling.rules.lattice",
        "mpiqmd.sampling.rules.from_file",
        "mpiqmd.sampling.rules.normal_modes",
        "mpiqmd.sampling.rules.torsion",
        "mpiqmd.sampling.rules.inversion",
        "mpiqmd.sampling.rules.greedy",
    ),
    section="train",
    key="sampling",
    default="lattice",
)
TERMS = Sections("energy term", "physics")
"""The terms of mpiqmd, in ``mpiqmd.kohnsham.terms``, have no keys and are not named here: importing them starts MPI, which the
help does without.  One that has keys is."""
CHOICES = {registry.section: registry for registry in (THERMOSTATS, SAMPLING_RULES)}
"""By the section whose keys they add to."""
