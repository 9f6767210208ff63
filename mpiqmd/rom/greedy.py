"""Greedy sampling: solve few geometries, then again and again the candidate with the largest estimated energy error.

The reduced energy lies above the full one and falls as modes are added, so an estimate made with fewer modes is taken for
an upper bound: candidates are looked at again in the order of their last estimates, until the largest is up to date.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.parallel.comm import decide
from mpiqmd.rom.estimate import ErrorEstimator
from mpiqmd.rom.grid_solver import RomSolver
from mpiqmd.rom.incremental_basis import IncrementalBasis
from mpiqmd.rom.snapshot_orbitals import SnapshotOrbitals
from mpiqmd.rom.snapshots import SAME_GEOMETRY, SnapshotStore
from mpiqmd.rom.training import Outcome, TrainingSolver
from mpiqmd.sampling.plan import Plan
from mpiqmd.sampling.rules.rule import CandidateRule
from mpiqmd.sampling.selection import farthest_points

TOLERANCE = 1e-6
"""Residual of the reduced density matrices that estimates are made with: errors of the energy of its square."""


def solve_greedily(solver: TrainingSolver, snapshots: SnapshotOrbitals, plan: Plan, rule: CandidateRule) -> Outcome:
    """Solve candidates of the plan until the target or the count is reached, after those of an earlier run.  Collective."""
    store, log = snapshots.store, solver.log
    count = min(rule.most(plan.body), len(plan.samples))
    chosen = _chosen_before(store, plan) or farthest_points(plan.samples.positions_sav, _few(plan, count), plan.symmetries)
    estimates_s = np.full(len(plan.samples), np.inf)
    estimator, seconds = CandidateEstimator(solver.model, plan.symmetries), []
    while True:
        solver.open(store, plan.samples.chosen(chosen))
        solved = solver.solve(store, store.pending)
        seconds += [solved.seconds] if solved.seconds else []
        mean = float(np.mean(seconds)) if seconds else None
        if solved.stopped is not None or len(chosen) >= count:
            return Outcome(mean, solved.stopped)
        estimates_s[chosen] = 0.0
        estimator.update(snapshots)
        worst = estimator.worst(plan.samples.positions_sav, estimates_s)
        log(f"{len(chosen)} geometries: largest estimated error {estimates_s[worst]:.1e} Ha, candidate {worst + 1}")
        if estimates_s[worst] < rule.target:
            return Outcome(mean)
        chosen.append(worst)


def _few(plan: Plan, count: int) -> int:
    """Return the number of geometries to start from: one, and one per vibration."""
    return min(count, max(2, 3 * len(plan.reference) - 5))


def _chosen_before(store: SnapshotStore, plan: Plan) -> list[int]:
    """Return the candidates that an earlier run has put into the store, in their order.  Not collective."""
    chosen = []
    for positions_av in store.positions_sav:
        differences_s = np.abs(plan.samples.positions_sav - positions_av).max(axis=(1, 2))
        nearest = int(np.argmin(differences_s))
        if differences_s[nearest] > SAME_GEOMETRY:
            break  # opening the store with the candidates refuses it by name
        chosen.append(nearest)
    return chosen


class CandidateEstimator:
    """Estimates errors of the reduced energy in the span of a store's snapshots.  Construction is not collective.

    Parameters
    ----------
    model, symmetries
        The physics, and the symmetry operations under which the span is closed.
    """

    def __init__(self, model: KohnShamModel, symmetries: Sequence[Symmetry]) -> None:
        self.model = model
        self.basis = IncrementalBasis(model.grid, symmetries)
        self.count = 0

    def update(self, snapshots: SnapshotOrbitals) -> None:
        """Take in the geometries of the store that are new.  Collective."""
        store = snapshots.store
        for index in range(self.count, len(store)):
            self.basis.add(snapshots.of(index))
        self.count = len(store)
        self.solver = RomSolver(
            self.model,
            self.basis.modes,
            tolerance=TOLERANCE,
            training_positions_sav=store.positions_sav,
            training_orbitals_smn=self.basis.coefficients_smn,
        )
        self.estimator = ErrorEstimator(self.model, self.basis.modes)

    def estimate(self, positions_av: np.ndarray) -> float:
        """Return the estimated energy error at body-frame positions, Ha.  Collective."""
        state = self.solver.solve(positions_av, forces=False)
        return self.estimator.estimate(self.model.place(positions_av), state.density_matrix_nn)

    def worst(self, positions_sav: np.ndarray, estimates_s: np.ndarray) -> int:
        """Return the candidate with the largest estimated error.  Collective.

        ``estimates_s`` holds earlier estimates (Ha; infinite where there is none, 0 for what is solved) and gets the new ones.
        """
        is_new_s = estimates_s == 0.0
        while True:
            index = decide(self.model.grid.comm, int(np.argmax(estimates_s)))
            if is_new_s[index]:
                return index
            estimates_s[index] = self.estimate(positions_sav[index])
            is_new_s[index] = True
