"""The nuclei of one molecule: symbols, positions, masses and net charge, the same on every rank."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.elements import require_element, standard_masses
from mpiqmd.molecule.images import nearest_neighbours
from mpiqmd.molecule.labels import hill_formula, labels

SHORTEST_DISTANCE = 0.3
"""Two nuclei closer than this (bohr) are a mistake in the input, not a molecule."""
FARTHEST = 1e8
"""Bohr; a coordinate beyond it is a mistake, and says nothing about where an atom is within a periodic cell."""


@dataclass(frozen=True, eq=False)
class Molecule:
    """Nuclei of a molecule. Not collective; replicated.

    Parameters
    ----------
    symbols
        Element symbols, one for each of the N atoms.
    positions_av
        Cartesian positions, shape (N, 3), bohr. A read-only copy is kept.
    charge
        Net charge of the molecule in units of the elementary charge.
    masses_a
        Nuclear masses, shape (N,), electron masses; standard atomic weights if not given.

    Raises
    ------
    GeometryError
        A symbol is unknown, or the shapes of the arrays do not match the symbols.
    """

    symbols: tuple[str, ...]
    positions_av: np.ndarray
    charge: int = 0
    masses_a: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        symbols = tuple(require_element(symbol) for symbol in self.symbols)
        masses_a = standard_masses(symbols) if self.masses_a is None else self.masses_a
        object.__setattr__(self, "symbols", symbols)
        object.__setattr__(self, "positions_av", _frozen(self.positions_av, (len(symbols), 3), "positions"))
        object.__setattr__(self, "masses_a", _frozen(masses_a, (len(symbols),), "masses"))

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def labels(self) -> tuple[str, ...]:
        """The atoms' names in messages, tables and files: ``O1``, ``H2``, ``H3``."""
        return labels(self.symbols)

    @property
    def formula(self) -> str:
        """The sum formula in Hill's order: ``CH2O``."""
        return hill_formula(self.symbols)

    @property
    def centre_of_mass_v(self) -> np.ndarray:
        """Centre of mass ``sum_a M_a R_a / sum_a M_a``, shape (3,), bohr."""
        return self.masses_a @ self.positions_av / self.masses_a.sum()

    def with_positions(self, positions_av: np.ndarray) -> Molecule:
        """Return the same molecule with its nuclei at ``positions_av``, shape (N, 3), bohr."""
        return replace(self, positions_av=positions_av)

    def check(self, cell_v: np.ndarray | None = None) -> None:
        """Raise GeometryError unless positions and masses are finite, not absurdly large, and no two nuclei coincide.

        Two nuclei must be at least ``SHORTEST_DISTANCE`` apart, and so must their images where ``cell_v`` gives the edges
        of a periodic cell, shape (3,), bohr. Not collective.
        """
        require_positions(self.positions_av, self.symbols)
        if not (np.isfinite(self.masses_a).all() and (self.masses_a > 0).all()):
            raise GeometryError(
                f"masses are {self.masses_a.tolist()}; each must be finite and positive, in electron masses. "
                "Leave the masses out to get standard atomic weights."
            )
        self._check_distances(cell_v)

    def _check_distances(self, cell_v: np.ndarray | None) -> None:
        if cell_v is not None and np.min(cell_v) < SHORTEST_DISTANCE:
            raise GeometryError(
                f"atom {self.labels[0]} and its own image are {np.min(cell_v):.4g} bohr apart; at least "
                f"{SHORTEST_DISTANCE} bohr is allowed. Enlarge grid.cell, or check its unit."
            )
        distances_a, nearest_a = nearest_neighbours(self.positions_av, cell_v)
        if not (distances_a < SHORTEST_DISTANCE).any():
            return
        first = int(np.argmax(distances_a < SHORTEST_DISTANCE))
        second, image = int(nearest_a[first]), "" if cell_v is None else " (nearest images in the periodic cell)"
        raise GeometryError(
            f"atoms {self.labels[first]} and {self.labels[second]} are {distances_a[first]:.4g} bohr apart{image}; at least "
            f"{SHORTEST_DISTANCE} bohr is allowed. Check the positions and their unit."
        )


def require_positions(positions_av: np.ndarray, symbols: tuple[str, ...] = ()) -> np.ndarray:
    """Return positions (N, 3), bohr, as floats.  Not collective.

    Raises GeometryError, naming the atom, unless they are finite and not absurdly large.
    """
    positions_av = np.asarray(positions_av, dtype=float)
    # a comparison with NaN is false
    if np.abs(positions_av).max(initial=0.0) <= FARTHEST:
        return positions_av
    atom = int(np.argmin((np.abs(positions_av) <= FARTHEST).all(axis=1)))
    name = labels(symbols)[atom] if symbols else str(atom + 1)
    raise GeometryError(
        f"position of atom {name} is {positions_av[atom].tolist()} bohr; coordinates must be finite numbers of at "
        f"most {FARTHEST:g} bohr, beyond which distances drown in round-off. Correct the structure, or the step that made it."
    )


def _frozen(values: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A read-only float copy of ``values`` with the expected shape."""
    array = np.array(values, dtype=float)
    if array.shape != shape:
        raise GeometryError(
            f"{name} have shape {array.shape}; one row for "
            f"each of the {shape[0]} atoms are needed, shape {shape}. Make symbols and {name} the same "
            "length."
        )
    array.flags.writeable = False
    return array
