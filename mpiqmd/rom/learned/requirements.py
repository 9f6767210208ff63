"""Which physics a learned grid can describe."""

from __future__ import annotations

from mpiqmd.errors import ConfigError
from mpiqmd.kohnsham.model import KohnShamModel

TERMS = ("kinetic", "local", "nonlocal", "hartree", "xc", "ion_ion")
"""Energy terms that are known without the grid."""


def require_grid_free(model: KohnShamModel) -> None:
    """Raise ConfigError if a grid-free model cannot describe the physics.  Not collective."""
    unknown = [term.name for term in model.terms if term.name not in TERMS]
    if unknown:
        raise ConfigError(
            f"rom.online = 'learned' with the energy terms {', '.join(unknown)}: grid-free models know {', '.join(TERMS)}. "
            "Use rom.online = 'grid'."
        )
    if model.electronic_temperature > 0:
        raise ConfigError(
            f"rom.online = 'learned' with scf.electronic_temperature = {model.electronic_temperature:g} Ha: grid-free models "
            "have integer occupations. Use rom.online = 'grid', or temperature 0."
        )
