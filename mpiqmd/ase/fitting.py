"""What Atoms must have in common with the input, and what may be asked of a calculator."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from mpiqmd.errors import ConfigError
from mpiqmd.exchange.structure_files import require_same_electrons
from mpiqmd.molecule.images import is_same_cell
from mpiqmd.units import BOHR_IN_ANGSTROM

if TYPE_CHECKING:
    from mpiqmd.grid import Grid
    from mpiqmd.molecule.molecule import Molecule


def require_fitting_atoms(atoms: Atoms | None, molecule: Molecule, grid: Grid, source: str) -> None:
    """Raise ConfigError unless symbols, charge, and cell where it is periodic, are those of the input.  Not collective."""
    if atoms is None:
        raise ConfigError("there are no Atoms to calculate, where one molecule is needed; attach it by atoms.calc = ...")
    symbols, expected = atoms.get_chemical_symbols(), list(molecule.symbols)
    if symbols != expected:
        raise ConfigError(
            f"the Atoms hold {symbols}, the input {source} holds {expected}; the same atoms in the same "
            "order are needed. Reorder the Atoms (calculator.input_atoms() has the right ones) or change the input."
        )
    require_same_electrons(atoms, molecule.charge)
    if not atoms.pbc.any():
        return
    if not (grid.is_periodic and is_same_cell(atoms.cell.array / BOHR_IN_ANGSTROM, grid.cell_v)):
        raise ConfigError(
            f"the Atoms are periodic ({atoms.pbc.tolist()}) with the cell {atoms.cell.array.tolist()} angstrom; the "
            f"input's grid.boundary is {grid.boundary!r} with the cell {(grid.cell_v * BOHR_IN_ANGSTROM).tolist()}. Set "
            "atoms.pbc = False (the input decides), or use the input's cell."
        )


def require_properties(asked: Sequence[str], available: Container[str]) -> None:
    """Raise ASE's PropertyNotImplementedError, in words, for properties that are not available.  Not collective."""
    missing = [name for name in asked if name not in available]
    if missing:
        raise PropertyNotImplementedError(
            f"this surface has no {', '.join(missing)}; it has energy, free_energy and forces, and the dipole where the "
            "molecule is isolated and solved in full or by a grid-free model. Ask for one of those."
        )
