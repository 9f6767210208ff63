"""The training geometries that an input asks for: a rule of :mod:`mpiqmd.sampling.rules` is given what it asks for."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.exchange.structure import not_finite
from mpiqmd.exchange.structure_files import write_geometries
from mpiqmd.keys.registries import SAMPLING_RULES
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import oriented
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.build import periodic_cell, read_frames, structure_of
from mpiqmd.pipeline.vibrations import find_relaxed_at, find_vibrations
from mpiqmd.rom.training import TrainingSolver
from mpiqmd.rom.windowed_model import window_folder
from mpiqmd.sampling.normal_modes import NormalModes
from mpiqmd.sampling.plan import Plan, make_plan
from mpiqmd.sampling.rules.rule import DeclaredRule, SamplingRule
from mpiqmd.sampling.windows import Windows

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

SAMPLES_FILE = "geometries.extxyz"


class TrainingSources:
    """What a sampling rule may ask for, of a molecule and the input; see :class:`mpiqmd.sampling.rules.rule.Sources`.

    ``may_compute`` allows Hi-Fi evaluations, kept in ``folder``.  Construction is not collective.
    """

    def __init__(self, settings: Settings, solver: TrainingSolver, molecule: Molecule, folder: Path, may_compute: bool) -> None:
        self.settings, self.solver = settings, solver
        self.molecule, self.folder, self.may_compute = molecule, folder, may_compute
        self._vibrations: dict[bool, NormalModes] = {}
        self._relaxed: dict[int, Molecule] = {}

    @property
    def sides(self) -> Sequence[Hashable]:
        """What tells the sides of the cell apart."""
        return self.solver.model.grid.sides

    def oriented(self) -> Molecule:
        """Return the molecule in the body frame.  Not collective."""
        return oriented(self.molecule, self.solver.model.grid.sides)

    def geometries(self, path: Path) -> np.ndarray:
        """Return the positions (frames, N, 3), bohr, of a file, molecules whole in a periodic cell.  Collective.

        Frames with positions that are not finite are told of and left out.  Raises DataFileError if no other is there.
        """
        settings, comm = self.settings, self.solver.model.grid.comm
        positions_sav = read_frames(settings, self.oriented(), path, comm)
        bad = not_finite(positions_sav, self.molecule.symbols)
        for frame, words in bad.items():
            self.say(f"warning: frame {frame} of {path} is left out: {words}")
        if len(bad) == len(positions_sav):
            raise DataFileError(f"{path}: no frame of it can be used: {bad[0]}. Correct the file.")
        positions_sav = np.delete(positions_sav, list(bad), axis=0)
        return np.array([whole(positions_av, periodic_cell(settings)) for positions_av in positions_sav])

    def vibrations(self, relaxed: bool) -> NormalModes:
        """Return the vibrations, found once.  Collective.  Raises what :func:`find_vibrations` raises."""
        if relaxed not in self._vibrations:
            self._vibrations[relaxed] = find_vibrations(
                self.settings, self.solver, self.molecule, self.folder, self.may_compute, relaxed
            )
        return self._vibrations[relaxed]

    def relaxed_at(self, windows: Windows, window: int, start: Molecule) -> Molecule:
        """Return a molecule relaxed in the middle of a window, found once.  Collective."""
        if window not in self._relaxed:
            folder = window_folder(self.folder, window)
            on_rank_zero(self.solver.model.grid.comm, folder.mkdir, exist_ok=True)
            held = windows.coordinate, float(windows.centres_w[window])
            self._relaxed[window] = find_relaxed_at(self.settings, self.solver, start, folder, *held)
        return self._relaxed[window]

    def say(self, line: str) -> None:
        """Write a line to the log.  Not collective."""
        self.solver.log(line)


def rule_of_input(settings: Settings, molecule: Molecule) -> DeclaredRule:
    """Return what ``train.sampling`` names, with its keys.  Not collective.  Raises ConfigError for a single atom."""
    train = settings.train
    if len(molecule) == 1:
        raise ConfigError(
            f"there is no reduced model of {molecule.formula}, which is one atom: nothing moves in its frame. Use the "
            "Hi-Fi solver."
        )
    arguments = SAMPLING_RULES.arguments(train.sampling, train.options)
    rule: DeclaredRule = SAMPLING_RULES.entry(train.sampling).make(**arguments)
    return rule


def choose_geometries(rule: SamplingRule, sources: TrainingSources) -> Plan:
    """Return what to train a molecule on, as a rule has it.  Collective.

    Raises ConfigError where sampling does not fit the molecule, and what :func:`find_vibrations` raises.
    """
    sides = sources.solver.model.grid.sides if sources.settings.train.symmetrize else None
    return make_plan(rule, sources, sides)


def require_modes(rank: int | None, plan: Plan, n_orbitals: int) -> None:
    """Raise ConfigError if so many modes are more than all orbitals of the plan's geometries can give.  Not collective."""
    most = len(plan.samples) * n_orbitals * (1 + len(plan.symmetries))
    if rank is not None and rank > most:
        raise ConfigError(
            f"rom.rank = {rank}: {len(plan.samples)} geometries have {most} orbitals, images included, and give no more "
            "modes than that. Ask for fewer, or train on more geometries."
        )


def write_samples(settings: Settings, folder: Path, plan: Plan, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Write the geometries for the eye and for other programs, and return the result.  Collective."""
    samples, path = plan.samples, folder / SAMPLES_FILE
    structure = structure_of(settings, plan.reference)
    on_rank_zero(comm, write_geometries, path, structure, samples.positions_sav)
    log.afterwards(f"{len(samples)} geometries ({samples.name}) written to {path}")
    return {"samples": len(samples), "positions": samples.positions_sav, "labels": samples.labels}
