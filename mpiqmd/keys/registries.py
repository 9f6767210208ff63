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
CHOICES = {"md": THERMOSTATS}
"""By the section whose keys they add to."""
