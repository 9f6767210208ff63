"""Both surfaces as a calculator of ASE: ``atoms.calc = MPIQMD("water.toml", model="model.h5")``."""

from mpiqmd.ase.calculator import MPIQMD

__all__ = ["MPIQMD"]
