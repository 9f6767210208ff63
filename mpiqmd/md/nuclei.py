"""The moving nuclei: masses, pinned atoms and the number of degrees of freedom that carry kinetic energy.

``K = (g / 2) k_B T`` with ``g = 3 (N - n_pinned)``, less 3 if the net momentum is zero and less 3 (2 for a
linear molecule) if the angular momentum is; a pinned atom breaks both conservation laws, so nothing more is
subtracted then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.md.observables import inertia_tensor, kinetic_energy

if TYPE_CHECKING:
    from mpiqmd.molecule.molecule import Molecule

LINEARITY = 1e-6
"""A molecule is linear when its smallest moment of inertia is below this fraction of the largest."""


@dataclass(frozen=True)
class Nuclei:
    """Replicated description of the nuclei during a run.

    Parameters
    ----------
    symbols
        Chemical symbols, N of them.
    masses_a
        Masses, shape (N,), electron masses.
    pinned
        Indices of the atoms that never move.
    degrees_of_freedom
        The ``g`` of the module docstring.
    """

    symbols: tuple[str, ...]
    masses_a: np.ndarray
    pinned: tuple[int, ...]
    degrees_of_freedom: int

    @property
    def inverse_masses_a(self) -> np.ndarray:
        """Inverse masses, shape (N,); zero for pinned atoms, which makes every force on them ineffective."""
        inverse_masses_a = 1.0 / self.masses_a
        inverse_masses_a[list(self.pinned)] = 0.0
        return inverse_masses_a

    def temperature(self, velocities_av: np.ndarray) -> float:
        """Return ``k_B T = 2 K / g`` in Ha; zero where no degree of freedom is left."""
        if self.degrees_of_freedom == 0:
            return 0.0
        return 2.0 * kinetic_energy(velocities_av, self.masses_a) / self.degrees_of_freedom


def is_linear(positions_av: np.ndarray, masses_a: np.ndarray) -> bool:
    """Return whether all atoms lie on one line (true for a diatomic molecule)."""
    moments = np.linalg.eigvalsh(inertia_tensor(positions_av, masses_a))
    return bool(moments[0] <= LINEARITY * moments[-1])


def count_degrees_of_freedom(
    positions_av: np.ndarray,
    masses_a: np.ndarray,
    n_pinned: int,
    remove_translation: bool,
    remove_rotation: bool,
) -> int:
    """Return the ``g`` of the module docstring; never negative."""
    n_atoms = len(masses_a)
    count = 3 * (n_atoms - n_pinned)
    if n_pinned == 0 and remove_translation:
        count -= 3
    if n_pinned == 0 and remove_rotation and n_atoms > 1:
        count -= 2 if is_linear(positions_av, masses_a) else 3
    return max(count, 0)


def make_nuclei(
    molecule: Molecule, pinned: Sequence[int], remove_translation: bool, remove_rotation: bool
) -> Nuclei:
    """Return the nuclei of a molecule.

    Raises
    ------
    ConfigError
        A pinned index is not one of the atoms.
    """
    n_atoms = len(molecule.symbols)
    for index in pinned:
        if not 0 <= index < n_atoms:
            raise ConfigError(
                f"md.pinned names atom {index}, but the molecule has {n_atoms} atoms, numbered 0 to "
                f"{n_atoms - 1}: correct the list or leave it out."
            )
    pinned = tuple(sorted(set(int(index) for index in pinned)))
    masses_a = np.array(molecule.masses_a, dtype=float)
    count = count_degrees_of_freedom(
        molecule.positions_av, masses_a, len(pinned), remove_translation, remove_rotation
    )
    return Nuclei(tuple(molecule.symbols), masses_a, pinned, count)
