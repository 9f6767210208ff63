"""Which physics a learned grid can describe."""

from __future__ import annotations

from mpiqmd.errors import ConfigError
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation

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
    if model.term(ExchangeCorrelation).core is not None:
        cores = [symbol for symbol, p in model.pseudopotentials.items() if p.core_density_r is not None]
        raise ConfigError(
            f"rom.online = 'learned' with a nonlinear core correction on {', '.join(cores)}: grid-free models expect an "
            "exchange-correlation energy of the valence density alone. Use rom.online = 'grid', or pseudopotentials without "
            "core correction, such as pseudopotentials.default = 'gth'."
        )
