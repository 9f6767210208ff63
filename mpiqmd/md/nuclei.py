"""The moving nuclei: masses, what must not move, and the number of degrees of freedom that carry kinetic energy.

``K = (g / 2) k_B T`` with ``g = 3 (N - n_pinned)``, less 3 if the net momentum is zero and less 3 (2 for a
linear molecule) if the angular momentum is; a pinned atom breaks both conservation laws, so nothing more is
subtracted then.  Every constrained bond length takes one more.

A molecule that is linear where it starts stays one as it bends: angular momentum about its axis is that of its bends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.md.constraints import BondConstraints
from mpiqmd.md.observables import kinetic_energy
from mpiqmd.molecule.linear import linear_axis

if TYPE_CHECKING:
    from mpiqmd.molecule.molecule import Molecule


@dataclass(frozen=True, eq=False)
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
    is_centred, is_untwisted
        Whether net momentum and net angular momentum are zero from the start.
    is_linear
        Whether the molecule is linear: angular momentum about its axis is left then.
    constraints
        Fixed bond lengths, if any.
    """

    symbols: tuple[str, ...]
    masses_a: np.ndarray
    pinned: tuple[int, ...]
    degrees_of_freedom: int
    is_centred: bool = False
    is_untwisted: bool = False
    is_linear: bool = False
    constraints: BondConstraints | None = None

    @property
    def inverse_masses_a(self) -> np.ndarray:
        """Inverse masses, a.u., shape (N,); zero for pinned atoms, which makes every force on them ineffective."""
        inverse_masses_a = 1.0 / self.masses_a
        inverse_masses_a[list(self.pinned)] = 0.0
        return inverse_masses_a

    def temperature(self, velocities_av: np.ndarray) -> float:
        """Return ``k_B T = 2 K / g`` in Ha; zero where no degree of freedom is left."""
        if self.degrees_of_freedom == 0:
            return 0.0
        return 2.0 * kinetic_energy(velocities_av, self.masses_a) / self.degrees_of_freedom

    def at_rest(self, velocities_av: np.ndarray, positions_av: np.ndarray) -> np.ndarray:
        """Return the velocities (N, 3), a.u., less everything that does not move in this run.  Not collective.

        Pinned atoms rest, net momentum and rotation are zero where they were removed, and no constrained length changes.
        Each removal is a projection in the metric of the masses and leaves the others intact, so that Maxwell-Boltzmann
        velocities stay so in what remains.
        """
        velocities_av = np.array(velocities_av, dtype=float)
        velocities_av[list(self.pinned)] = 0.0
        if self.is_centred:
            velocities_av = remove_net_momentum(velocities_av, self.masses_a)
        if self.is_untwisted:
            velocities_av = remove_net_rotation(velocities_av, positions_av, self.masses_a, self.is_linear)
        if self.constraints is not None:
            velocities_av = self.constraints.tangent(velocities_av, positions_av)
        return velocities_av


def remove_net_momentum(velocities_av: np.ndarray, masses_a: np.ndarray) -> np.ndarray:
    """Return the velocities, shape (N, 3), a.u., with the centre of mass at rest.  Not collective."""
    return velocities_av - (masses_a / masses_a.sum()) @ velocities_av


def remove_net_rotation(
    velocities_av: np.ndarray, positions_av: np.ndarray, masses_a: np.ndarray, is_linear: bool = False
) -> np.ndarray:
    """Return the velocities less the rigid rotation ``omega x (R_a - R_com)`` with ``I omega = L``.  Not collective.

    Shape (N, 3), a.u.  The axis of a linear molecule, also of one that is bent at the moment, is left out.
    """
    arms_av = positions_av - (masses_a / masses_a.sum()) @ positions_av
    weighted_av = masses_a[:, None] * arms_av
    second = weighted_av.T @ arms_av
    moments, axes = np.linalg.eigh(np.trace(second) * np.eye(3) - second)
    # v x R is the product with the antisymmetric part of sum_a M_a R_a v_a
    products = weighted_av.T @ velocities_av
    angular_v = (products - products.T)[[1, 2, 0], [2, 0, 1]]
    turning = moments > 1e-10 * moments[-1]
    turning[0] &= not is_linear
    x, y, z = (axes[:, turning] @ ((angular_v @ axes[:, turning]) / moments[turning])).tolist()
    return velocities_av - arms_av @ np.array([[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]])


def count_degrees_of_freedom(
    positions_av: np.ndarray,
    masses_a: np.ndarray,
    n_pinned: int,
    remove_translation: bool,
    remove_rotation: bool,
    n_constraints: int = 0,
) -> int:
    """Return how many squares of velocities the kinetic energy has: g of ``k_B T = 2 K / g``, at least 0.  Not collective.

    Parameters
    ----------
    positions_av, masses_a
        Positions (N, 3), bohr, and masses (N,): a linear molecule has one rotation less.
    n_pinned
        Atoms that never move; with any, net momentum and rotation are not taken out.
    remove_translation, remove_rotation
        Whether net momentum and rotation are zero.
    n_constraints
        Lengths that are kept.
    """
    n_atoms = len(masses_a)
    count = 3 * (n_atoms - n_pinned) - n_constraints
    if n_pinned == 0 and remove_translation:
        count -= 3
    if n_pinned == 0 and remove_rotation and n_atoms > 1:
        count -= 3 if linear_axis(positions_av) is None else 2
    return max(count, 0)


def make_nuclei(
    molecule: Molecule,
    pinned: Sequence[int],
    remove_translation: bool,
    remove_rotation: bool,
    constraints: Sequence[Sequence[int]] = (),
    constraint_tolerance: float = 1e-10,
) -> Nuclei:
    """Return the nuclei of a molecule.

    Parameters
    ----------
    molecule
        Symbols, masses and the positions whose bond lengths are kept where constrained.
    pinned
        Indices of atoms that never move.
    remove_translation, remove_rotation
        Whether net momentum and rotation are zero; ignored where atoms are pinned.
    constraints
        Pairs of atoms whose distance is fixed.
    constraint_tolerance
        Largest relative deviation of a fixed distance.

    Raises
    ------
    ConfigError
        A pinned or constrained index is not one of the atoms, or the constraints depend on each other.
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
    positions_av = np.array(molecule.positions_av, dtype=float)
    count = count_degrees_of_freedom(positions_av, masses_a, len(pinned), remove_translation, remove_rotation, len(constraints))
    centred, untwisted = (wanted and not pinned for wanted in (remove_translation, remove_rotation))
    is_linear = linear_axis(positions_av) is not None
    free = Nuclei(tuple(molecule.symbols), masses_a, pinned, count, centred, untwisted, is_linear)
    if not constraints:
        return free
    fixed = BondConstraints(constraints, positions_av, free.inverse_masses_a, constraint_tolerance)
    return replace(free, constraints=fixed)
