"""Starting orbitals of an MD step from those of the steps before it.

Orbitals are defined up to a rotation, so each converged block is first aligned with the one before by the polar factor of
their overlap; then the start is a combination of the last blocks, ``Φ = Σ_j c_j Φ_j`` with ``Σ_j c_j = 1``:

geometry     c minimises ``|D(R) - Σ_j c_j D(R_j)|² + ε² |c|²`` for descriptors D of the geometry, the positions and their
             products: orbitals are smooth functions of the nuclei, whatever the timestep (E. Polack, A. Mikhalev,
             G. Dusson, B. Stamm, F. Lipparini, J. Chem. Theory Comput. 17, 6965 (2021), fit density matrices so);
polynomial   the polynomial in time through the last blocks, ``c_j = (-1)^j C(n, j + 1)``;
aspc         the always stable predictor, reversible in time to a high order (J. Kolafa, J. Comput. Chem. 25, 335 (2004)).
"""

from __future__ import annotations

from math import comb

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.kernels import linear_combination
from mpiqmd.kohnsham.extrapolation import aspc_coefficients
from mpiqmd.molecule.images import nearest_image
from mpiqmd.molecule.surface import Memory
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.dense import polar_factor

DEFAULT_STEPS = {"geometry": 10, "polynomial": 3, "aspc": 4}
"""The rules, and how many blocks each combines unless told otherwise."""
RIDGE = 1e-3
"""ε of the fit, bohr: what is not worth larger coefficients."""
PRODUCT_WEIGHT = 0.3
"""Weight of products of coordinates beside the coordinates, 1/bohr."""


class OrbitalExtrapolation(Memory):
    """Remembers converged orbitals and predicts the next ones.

    Parameters
    ----------
    grid
        The grid the orbitals live on.
    rule
        ``"geometry"``, ``"polynomial"`` or ``"aspc"``; ``"none"`` remembers nothing.
    steps
        Blocks combined, at most; None for the rule's default.

    Raises
    ------
    ConfigError
        If there is no such rule.
    """

    def __init__(self, grid: Grid, rule: str = "geometry", steps: int | None = None) -> None:
        if rule != "none" and rule not in DEFAULT_STEPS:
            raise ConfigError(
                f"scf.extrapolation = {rule!r} is unknown; allowed: none, {', '.join(DEFAULT_STEPS)}. Use 'geometry'."
            )
        self.grid, self.rule = grid, rule
        self.steps = 0 if rule == "none" else steps or DEFAULT_STEPS[rule]
        self._history: list[Orbitals] = []
        self._positions: list[np.ndarray] = []

    def add(self, positions_av: np.ndarray, orbitals: Orbitals) -> None:
        """Remember converged orbitals of a geometry, the latest first.  Collective."""
        if not self.steps:
            return
        if self._history:
            orbitals = orbitals.combine(polar_factor(self.grid.comm, orbitals.gram(self._history[0])))
        self._history.insert(0, orbitals)
        self._positions.insert(0, np.array(positions_av, float))
        del self._history[self.steps :], self._positions[self.steps :]

    def predict(self, positions_av: np.ndarray) -> Orbitals | None:
        """Return the extrapolated orbitals (not orthonormalised), or None without a history.  Collective."""
        if not self._history:
            return None
        weights = decide(self.grid.comm, self._weights(positions_av))
        blocks = [orbitals.local for orbitals in self._history]
        return Orbitals(self.grid, linear_combination(weights, blocks))

    def _weights(self, positions_av: np.ndarray) -> np.ndarray:
        """Return the weights of the history by the rule, (samples,), without unit; they sum to 1.  Not collective."""
        count = len(self._history)
        if self.rule == "polynomial":
            return np.array([(-1.0) ** j * comb(count, j + 1) for j in range(count)])
        if self.rule == "aspc":
            return aspc_coefficients(count)
        # the latest geometry's images, so that an atom wrapped into the cell has not moved
        latest, cell_v = self._positions[0], self.grid.periodic_cell_v
        changes_sav = nearest_image(np.array([*self._positions, positions_av]) - latest, cell_v)
        return geometry_weights(changes_sav[:-1], changes_sav[-1])

    def forget(self) -> None:
        """Drop the history.  Not collective."""
        self._history.clear()
        self._positions.clear()

    def state(self) -> dict[str, np.ndarray]:
        """Return the history as whole arrays on every rank, the latest first; nothing without one.  Collective.

        ``orbitals_j`` of shape (n, z, y, x), bohr^-3/2, and ``positions`` (samples, N, 3), bohr.
        """
        whole = {f"orbitals_{j:02d}": orbitals.gather_everywhere() for j, orbitals in enumerate(self._history)}
        return whole | {"positions": np.array(self._positions)} if whole else {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned, on any number of ranks.  Not collective."""
        names = sorted(name for name in state if name.startswith("orbitals_"))[: self.steps]
        self._history = [Orbitals(self.grid, state[name][(slice(None), *self.grid.local_slices)]) for name in names]
        self._positions = list(state["positions"]) if names else []


def geometry_weights(known_sav: np.ndarray, positions_av: np.ndarray) -> np.ndarray:
    """Return c, shape (samples,), without unit, sum 1, of the fit of a geometry by known ones (equation of the module).

    Geometries in bohr, the latest first.  Not collective.
    """
    latest = known_sav[0]
    rows = [_descriptors((known - latest).ravel()) for known in known_sav[1:]]
    if not rows:
        return np.ones(1)
    matrix = np.array(rows).T
    count = matrix.shape[1]
    wanted = np.concatenate([_descriptors((positions_av - latest).ravel()), np.zeros(count)])
    others = np.linalg.lstsq(np.vstack([matrix, RIDGE * np.eye(count)]), wanted, rcond=None)[0]
    return np.concatenate([[1.0 - others.sum()], others])


def _descriptors(change: np.ndarray) -> np.ndarray:
    """Return a change of 3 N coordinates, bohr, and its weighted products, shape (descriptors,).  Not collective."""
    products = np.outer(change, change)[np.triu_indices(len(change))]
    return np.concatenate([change, PRODUCT_WEIGHT * products])
