"""Both surfaces as a calculator of ASE: ``atoms.calc = MPIQMD("water.toml", model="model.h5")``."""

# ruff: noqa: E402  (the environment comes before NumPy and MPI)
from mpiqmd.launcher import prepare_environment

prepare_environment()

from mpiqmd.ase.calculator import MPIQMD

__all__ = ["MPIQMD"]
