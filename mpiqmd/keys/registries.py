"""What registers itself, and the modules of mpiqmd that do: the one place to name a new one that comes with mpiqmd."""

from __future__ import annotations

from mpiqmd.keys.registry import Choices

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
        "mpiqmd.sampling.rules.greedy",
    ),
    section="train",
    key="sampling",
    default="lattice",
)
CHOICES = {registry.section: registry for registry in (THERMOSTATS, SAMPLING_RULES)}
"""By the section whose keys they add to."""
