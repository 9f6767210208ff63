"""Where configuration meets constructors: from settings to the objects every command needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.errors import ConfigError
from mpiqmd.exchange.structure import Structure, require_fitting, same_masses
from mpiqmd.exchange.structure_files import read_structures
from mpiqmd.grid import Grid
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.hifi.body_solver import HifiBodySolver
from mpiqmd.hifi.extrapolation import OrbitalExtrapolation
from mpiqmd.hifi.slepc import SlepcSolver
from mpiqmd.kohnsham.checks import GroundStateWatch
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.ground_state import ElectronicSolver
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.body_surface import BodySurface, Solved, SurfaceFrame
from mpiqmd.molecule.elements import without_isotopes
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.laboratory import LaboratoryFrame
from mpiqmd.molecule.library import load_pseudopotentials
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import moving_frame, oriented
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.parallel.interruption import Interruption
from mpiqmd.pipeline.memory import DENSITY_REFINEMENT, require_memory
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.online import OnlineStage
from mpiqmd.rom.options import RomOptions
from mpiqmd.rom.reactions import FORCE_PER_RMS
from mpiqmd.rom.training import FullSolving, TrainingSolver
from mpiqmd.rom.verdict import LARGEST_PER_RMS

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


def build_molecule(settings: Settings, comm: MPI.Comm) -> Molecule:
    """Return the molecule of the input.  Collective.

    Raises GeometryError if its nuclei are impossible, and DataFileError or ConfigError if the structure file says other than
    the input.
    """
    system = settings.system
    if system.structure is not None:
        structure = on_rank_zero(comm, _only_structure, system.structure)
    else:
        assert system.symbols is not None
        symbols, masses_a = without_isotopes(system.symbols)
        structure = Structure(symbols, np.array(system.positions), masses_a)
    molecule = Molecule(structure.symbols, structure.positions_av, system.charge, _masses(settings, structure))
    molecule.check(periodic_cell(settings))
    if system.structure is not None:
        require_fitting([structure], structure_of(settings, molecule), system.structure)
    return molecule


def structure_of(settings: Settings, molecule: Molecule) -> Structure:
    """Return the molecule of an input with the cell, if it is periodic, and the pinned atoms of that input.  Not collective."""
    is_periodic = settings.grid.boundary == "periodic"
    return Structure(
        molecule.symbols,
        molecule.positions_av,
        molecule.masses_a,
        np.diag(settings.grid.cell) if is_periodic else None,
        (is_periodic,) * 3,
        molecule.charge,
        tuple(settings.md.pinned),
    )


def _only_structure(path: Path) -> Structure:
    """Return the geometry of a file that has one.  Not collective."""
    structures = read_structures(path)
    if len(structures) != 1:
        raise ConfigError(
            f"system.structure = {str(path)!r} holds {len(structures)} geometries; one is needed. "
            "Keep one frame, or use `mpiqmd evaluate --structures` for many."
        )
    return structures[0]


def _masses(settings: Settings, structure: Structure) -> np.ndarray | None:
    """Return the masses that the input or its structure says, electron masses; they must not contradict each other."""
    written, found = settings.system.masses, structure.masses_a
    if written is None or found is None:
        return found if written is None else np.array(written)
    if not same_masses(np.array(written), found):
        raise ConfigError(
            f"system.masses is {[round(mass, 3) for mass in written]} electron masses, the structure (or its isotopes D and "
            f"T) says {[round(float(mass), 3) for mass in found]}. Both must agree: remove one."
        )
    return np.array(written)


def align(settings: Settings, molecule: Molecule) -> Alignment | None:
    """Return the molecule in the frame where ``scf.frame`` has it solved; None in the laboratory.  Not collective."""
    if settings.scf.frame == "lab":
        return None
    molecule = molecule.with_positions(whole(molecule.positions_av, periodic_cell(settings)))
    sides = list(zip(settings.grid.cell, settings.grid.points, strict=True))
    return make_frame(oriented(molecule, sides)).align(molecule.positions_av)


def periodic_cell(settings: Settings) -> np.ndarray | None:
    """Return the edges (3,) of a periodic cell of the input, bohr, None for an isolated one.  Not collective."""
    return np.array(settings.grid.cell, float) if settings.grid.boundary == "periodic" else None


def read_frames(settings: Settings, molecule: Molecule, path: Path, comm: MPI.Comm) -> np.ndarray:
    """Return the positions (frames, N, 3), bohr, of a file of geometries of the input's molecule.  Collective.

    Frames with positions that are not finite are among them: :func:`mpiqmd.exchange.structure.not_finite` finds them.
    Raises DataFileError if the file cannot be read or says other than the input: atoms, cell, masses, charge, fixed atoms.
    """
    structures = on_rank_zero(comm, lambda: read_structures(path, finite=False))
    require_fitting(structures, structure_of(settings, molecule), path)
    return np.array([structure.positions_av for structure in structures])


def build_grid(settings: Settings, comm: MPI.Comm) -> Grid:
    """Return the distributed grid of the input.  Collective."""
    grid = settings.grid
    return Grid(comm, grid.cell, grid.points, grid.order, grid.boundary, poisson=grid.poisson)


def build_model(settings: Settings, comm: MPI.Comm, molecule: Molecule) -> KohnShamModel:
    """Return the Kohn-Sham model of the input.  Collective.  Raises ConfigError if it would not fit into memory."""
    functional = Functional(settings.xc.functional)
    table, folder = settings.pseudopotentials.table, settings.folder
    pseudopotentials = on_rank_zero(
        comm,
        load_pseudopotentials,
        molecule.symbols,
        table,
        functional.family,
        settings.pseudopotentials.allow_mismatch,
        folder,
    )
    electrons = sum(pseudopotentials[symbol].valence for symbol in molecule.symbols) - molecule.charge
    require_memory(settings, max(0, math.ceil(electrons / SPIN_WEIGHT)) + settings.scf.empty_orbitals, comm)
    grid, temperature = build_grid(settings, comm), settings.scf.electronic_temperature
    refinement = DENSITY_REFINEMENT[settings.grid.density]
    return KohnShamModel(grid, molecule, pseudopotentials, functional, temperature, refinement, term_options=settings.terms)


def build_solver(
    settings: Settings, model: KohnShamModel, log: Log | None = None, energy_tolerance: float | None = None
) -> ElectronicSolver:
    """Return the full-space solver of the input; ``energy_tolerance`` overrides the input's.  Not collective."""
    scf = settings.scf
    tolerance, shift = energy_tolerance or scf.energy_tolerance, scf.preconditioner_shift
    slepc = SlepcSolver(model, tolerance, scf.max_iterations, shift=shift, empty_orbitals=scf.empty_orbitals, log=log)
    if scf.solver == "slepc":
        return slepc
    return AbpgSolver(
        model,
        tolerance,
        scf.max_iterations,
        shift=shift,
        history=scf.anderson_history,
        empty_orbitals=scf.empty_orbitals,
        log=log,
        fallback=slepc,
    )


def build_hifi_surface(
    settings: Settings,
    model: KohnShamModel,
    molecule: Molecule,
    extrapolation: str | None,
    body_frame: bool | None = None,
    watch: GroundStateWatch | None = None,
) -> BodySurface[OrbitalExtrapolation, Solved]:
    """Return the Hi-Fi surface of the input, in the laboratory or (``body_frame``) in the molecule's frame.

    Not collective.  ``extrapolation`` is the rule for starting orbitals, None to start from atoms.  ``body_frame`` None
    follows ``scf.frame``.  The frame's own derivative takes out the net force, so only the raw gradient goes through it.
    ``watch`` tells of a cell too small, of a grid too coarse for the atoms, and of a molecule moved into its cell.
    """
    in_body = settings.scf.frame == "body" if body_frame is None else body_frame
    grid = model.grid
    frame: SurfaceFrame
    if in_body:
        frame = moving_frame(molecule, grid.sides, grid.periodic_cell_v)
    else:
        net_force = "keep" if settings.md.pinned else settings.scf.net_force
        cell_v, log = None if grid.is_periodic else grid.cell_v, None if watch is None else watch.log
        frame = LaboratoryFrame(grid.comm, molecule, net_force, cell_v=cell_v, anew=extrapolation is None, log=log)
    rule, steps = extrapolation or "none", settings.scf.extrapolation_steps
    return BodySurface(frame, HifiBodySolver(model, build_solver(settings, model), rule, steps, watch))


def build_online_stage(
    settings: Settings,
    model: KohnShamModel,
    reduced: ReducedModel,
    log: Log,
    make_full_solver: Callable[[], ElectronicSolver] | None = None,
) -> OnlineStage:
    """Return a reduced model ready for use as the input has it, with its full-space solver if none is given.  Collective."""
    make_solver = make_full_solver or (lambda: build_solver(settings, model))
    return OnlineStage(model, reduced, rom_options(settings), make_solver, log)


def rom_options(settings: Settings) -> RomOptions:
    """Return the section ``rom`` of the input, with the tolerances that follow from what training asks for.  Not collective."""
    rom, train = settings.rom, settings.train
    return replace(
        rom,
        error_tolerance=rom.error_tolerance or LARGEST_PER_RMS * train.energy_error,
        force_tolerance=rom.force_tolerance or FORCE_PER_RMS * train.force_error,
    )


def build_training_solver(
    settings: Settings, model: KohnShamModel, log: Log, groups: int = 1, interruption: Interruption | None = None
) -> TrainingSolver:
    """Return what solves the training geometries of the input, in groups of ranks.  Not collective.

    Raises ConfigError for more groups than ranks.
    """
    full = FullSolving(
        make_model=lambda comm: build_model(settings, comm, model.molecule),
        make_solver=lambda model: build_solver(settings, model, energy_tolerance=settings.train.energy_tolerance),
        n_orbitals=model.n_occupied + settings.scf.empty_orbitals,
    )
    return TrainingSolver(model, full, log, groups, interruption)
