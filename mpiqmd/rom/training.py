"""Solving the training geometries: by all ranks one after the other, by groups of ranks at once, or by one job of an array.

Geometries do not depend on each other, so groups scale where the ranks of one geometry no longer do.  Each group writes a
snapshot file of its own, which is gathered at the end, and at the start of the next run after a kill.  A solution starts from
orbitals interpolated between those that are known, which takes two thirds of the iterations and finds the same minimum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.grid.grid import Grid
from mpiqmd.kohnsham.checks import GroundStateWatch
from mpiqmd.kohnsham.ground_state import ElectronicSolver, GroundState
from mpiqmd.kohnsham.interpolation import OrbitalInterpolation
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.interruption import Interruption
from mpiqmd.parallel.log import Log, silent
from mpiqmd.rom.partial_snapshots import blocks, gather_parts, part_path
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.sampling.samples import Samples

if TYPE_CHECKING:
    from mpi4py import MPI

RECALLED = 100
"""Geometries of earlier runs whose orbitals are read to start from."""


@dataclass(frozen=True)
class Outcome:
    """How solving went: mean seconds per geometry (None if there was nothing to do), and why it ended early, if it did."""

    seconds: float | None
    stopped: str | None = None


@dataclass(frozen=True, eq=False)
class FullSolving:
    """How training geometries are solved in full.

    Attributes
    ----------
    make_model
        Makes the physics of the training on a communicator, that of a group of ranks.  Collective over it.
    make_solver
        Makes the full-space solver of such a model.  Not collective.
    n_orbitals
        Orbitals that are kept of each geometry.
    """

    make_model: Callable[[MPI.Comm], KohnShamModel]
    make_solver: Callable[[KohnShamModel], ElectronicSolver]
    n_orbitals: int


class TrainingSolver:
    """Solves geometries on all ranks of a model, in ``groups`` groups of them.  Construction is not collective.

    Parameters
    ----------
    model, full, log
        The physics on all ranks, how it is solved, and where progress goes.
    groups
        Number of groups of ranks.
    interruption
        Asked between two geometries whether to end.

    Raises
    ------
    ConfigError
        There are more groups than ranks.
    """

    def __init__(
        self, model: KohnShamModel, full: FullSolving, log: Log, groups: int = 1, interruption: Interruption | None = None
    ) -> None:
        if groups > model.grid.comm.size:
            raise ConfigError(
                f"--groups {groups} on {model.grid.comm.size} rank(s): a group has one rank at least. Start more ranks with "
                "mpirun, or ask for fewer groups."
            )
        self.model, self.full, self.log, self.groups = model, full, log, groups
        self.interruption = interruption or Interruption()
        self.watch = GroundStateWatch(model, log)

    def open(self, store: SnapshotStore, samples: Samples, with_orbitals: bool = True) -> None:
        """Lay out storage for the samples and take in what parts beside the store hold.  Collective."""
        n_orbitals = self.full.n_orbitals if with_orbitals else 0
        store.prepare(self.model.grid, samples.positions_sav, samples.labels, n_orbitals)
        moved = gather_parts(store, self.model.grid)
        if moved:
            self.log(f"{moved} geometries gathered from parts")

    def solve(self, store: SnapshotStore, indices: Sequence[int], known: SnapshotStore | None = None) -> Outcome:
        """Solve these geometries of the store, starting from what ``known`` has, the same by default.  Collective."""
        known = store if known is None else known
        with self.interruption.listening():
            if self.groups == 1 or len(indices) < 2:
                return self._solve_here(self.watch, store, indices, known, self.log)
            return self._solve_in_groups(store, indices, known)

    def _solve_in_groups(self, store: SnapshotStore, indices: Sequence[int], known: SnapshotStore) -> Outcome:
        comm = self.model.grid.comm
        group = comm.rank * self.groups // comm.size
        own = blocks(indices, self.groups)[group]
        self.log(f"{self.groups} groups of ranks, {len(indices)} geometries; this is the progress of the first group")
        alone = comm.Split(group, comm.rank)
        solved, *warnings = self._solve_own(store, own, SnapshotStore(known.path, known.signature, alone), group, alone)
        every, told = comm.allgather(solved), comm.allgather(warnings)
        for others in told:
            self.watch.tell(*others)
        alone.Free()
        gather_parts(store, self.model.grid)
        stopped = next((other.stopped for other in every if other.stopped), None)
        return Outcome(max((other.seconds for other in every if other.seconds), default=None), stopped)

    def _solve_own(
        self, store: SnapshotStore, own: list[int], known: SnapshotStore, group: int, alone: MPI.Comm
    ) -> tuple[Outcome, dict[str, str], set[str]]:
        """Solve this group's geometries into a file of its own; return what there is to tell, too.  Collective over it."""
        if not own:
            return Outcome(None), {}, set()
        model = self.full.make_model(alone)
        part = SnapshotStore(part_path(store.path, f"group-{group}"), store.signature, alone)
        labels = [store.labels[index] for index in own]
        part.prepare(model.grid, store.positions_sav[own], labels, store.n_orbitals)
        watch = GroundStateWatch(model, silent(alone))
        solved = self._solve_here(watch, part, part.pending, known, self.log if self.log.active else silent(alone))
        model.grid.destroy()
        return solved, watch.said, watch.lasting

    def _solve_here(
        self, watch: GroundStateWatch, store: SnapshotStore, indices: Sequence[int], known: SnapshotStore, log: Log
    ) -> Outcome:
        """Solve geometries one after the other on the ranks of a model.  Collective over them."""
        if not indices:
            return Outcome(None)
        model = watch.model
        solver, starts = self.full.make_solver(model), interpolation(model.grid, known)
        started, count, countdown = time.perf_counter(), 0, Countdown(log, len(indices), "solved")
        for count, index in enumerate(indices, start=1):
            stopped = decide(model.grid.comm, self.interruption.reason())
            if stopped is not None:
                return Outcome((time.perf_counter() - started) / (count - 1) if count > 1 else None, stopped)
            positions_av = store.positions_sav[index]
            problem = model.place(positions_av)
            state: GroundState = solver.solve(problem, starts.predict(positions_av))
            starts.add(positions_av, state.orbitals)
            watch.look(problem, state)
            store.add(index, state.orbitals, state.free_energy, state.forces_av, state.eigenvalues_n)
            countdown.advance(f"geometry {index + 1}, {state.free_energy:.8f} Ha, {state.iterations} iterations")
        return Outcome((time.perf_counter() - started) / count)


def interpolation(grid: Grid, known: SnapshotStore) -> OrbitalInterpolation:
    """Return starting orbitals by the finished geometries of a store, of so many as :data:`RECALLED` says.  Collective."""
    starts = OrbitalInterpolation(grid)
    for index in np.flatnonzero(known.finished_s)[:RECALLED] if known.n_orbitals else ():
        starts.add(known.positions_sav[index], known.read(grid, int(index)))
    return starts
