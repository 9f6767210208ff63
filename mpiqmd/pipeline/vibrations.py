"""The vibrations about which a molecule is sampled: relaxed and differenced on the Hi-Fi surface in the body frame, once.

Every evaluation is kept as it is made and the result in ``modes.json``, from which the jobs of an array read it.
"""

from __future__ import annotations

import json
from pathlib import Path

from mpiqmd.config.settings import Settings
from mpiqmd.errors import ConfigError
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.large_amplitude import LargeAmplitude
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import oriented
from mpiqmd.molecule.surface import Owner, Surface
from mpiqmd.molecule.symmetry import grid_symmetries, symmetrised_hessian
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.build import build_hifi_surface
from mpiqmd.pipeline.identity import deciding, surface_identity, without
from mpiqmd.rom.training import TrainingSolver
from mpiqmd.sampling.normal_modes import NormalModes, normal_modes
from mpiqmd.statics.derivatives import differentiate
from mpiqmd.statics.hessian_file import HessianAt, load_hessian, save_hessian
from mpiqmd.statics.interruptible import InterruptibleSurface
from mpiqmd.statics.journaled import JournaledSurface
from mpiqmd.statics.relaxation import relax
from mpiqmd.statics.restrained import RestrainedSurface
from mpiqmd.units import HARTREE_IN_INVERSE_CM

MODES_FILE = "modes.json"
RELAX_JOURNAL, HESSIAN_JOURNAL = "modes-relax.jsonl", "modes-hessian.jsonl"
HELD_JOURNAL = "window-relax.jsonl"


def find_vibrations(
    settings: Settings, solver: TrainingSolver, molecule: Molecule, folder: Path, may_compute: bool, relaxed: bool
) -> NormalModes:
    """Return the vibrations in the body frame, from ``modes.json`` if they are there.  Collective.

    The molecule is ``relaxed`` to the nearest minimum first, or taken as it is.

    Raises
    ------
    ConfigError
        They are not there and ``may_compute`` is false.
    DataFileError
        The file belongs to another input.
    GeometryError
        The geometry is no minimum.
    EndedEarly
        There is a reason to end.
    """
    comm = solver.model.grid.comm
    identity = _identity(settings, solver.model, molecule, relaxed)
    found = on_rank_zero(comm, load_hessian, folder / MODES_FILE, identity)
    if found is None:
        if not may_compute:
            raise ConfigError(
                f"--part with train.sampling = {settings.train.sampling!r}: the geometries must have been chosen by one job, "
                f"and {folder / MODES_FILE} is not there. Run `mpiqmd train INPUT --samples-only` first."
            )
        with solver.interruption.listening():
            found = _compute(settings, solver, molecule, folder, identity, relaxed)
        on_rank_zero(comm, save_hessian, folder / MODES_FILE, found, identity)
    reference = molecule.with_positions(found.positions_av)
    symmetries = grid_symmetries(reference, solver.model.grid.sides)
    modes = normal_modes(reference, symmetrised_hessian(found.hessian_cc, symmetries))
    solver.log("vibrations at " + ", ".join(f"{HARTREE_IN_INVERSE_CM * f:.0f}" for f in modes.frequencies_k) + " 1/cm")
    return modes


def _compute(
    settings: Settings, solver: TrainingSolver, molecule: Molecule, folder: Path, identity: dict[str, str], relaxed: bool
) -> HessianAt:
    """Return the Hessian, after relaxation if that is asked for.  Collective."""
    model, log = solver.model, solver.log
    start = oriented(molecule, model.grid.sides)

    def journaled(about: Molecule, name: str) -> JournaledSurface:
        return JournaledSurface(training_surface(settings, solver, about), folder / name, identity, model.grid.comm)

    if relaxed:
        found = relaxed_on(journaled(start, RELAX_JOURNAL), settings, solver, start, "set train.relax = false")
        start = oriented(found, model.grid.sides)
    owner = Owner(journaled(start, HESSIAN_JOURNAL))
    derivatives = differentiate(start, owner, settings.frequencies.displacement, log)
    return HessianAt(start.positions_av, derivatives.hessian_cc)


def training_surface(settings: Settings, solver: TrainingSolver, about: Molecule) -> InterruptibleSurface:
    """Return the Hi-Fi surface in the body frame about a molecule, which ends when there is a reason to.  Not collective."""
    rule, model = settings.scf.extrapolation, solver.model
    hifi = build_hifi_surface(settings, model, about, rule, body_frame=True, watch=solver.watch)
    return InterruptibleSurface(hifi, solver.interruption, model.grid.comm)


def relaxed_on(surface: Surface, settings: Settings, solver: TrainingSolver, start: Molecule, otherwise: str) -> Molecule:
    """Return the nearest minimum of a surface.  Collective.

    Raises ConvergenceError, which says what to do or ``otherwise``, and EndedEarly.
    """
    path = relax(start, Owner(surface), settings.relax, solver.model.grid.comm, solver.log)
    path.require_converged(settings.relax, otherwise)
    return start.with_positions(path.positions_sav[-1])


def find_relaxed_at(
    settings: Settings, solver: TrainingSolver, start: Molecule, folder: Path, coordinate: LargeAmplitude, value: float
) -> Molecule:
    """Return a molecule relaxed while a coordinate keeps near a value.  Collective.

    Raises what :func:`find_vibrations` raises.
    """
    held = {"held": json.dumps([coordinate.described(), value])}
    identity = _identity(settings, solver.model, start, True) | held
    surface = RestrainedSurface(training_surface(settings, solver, start), coordinate, value)
    journaled = JournaledSurface(surface, folder / HELD_JOURNAL, identity, solver.model.grid.comm)
    with solver.interruption.listening():
        return relaxed_on(journaled, settings, solver, start, "begin nearer to the minimum")


def _identity(settings: Settings, model: KohnShamModel, molecule: Molecule, relaxed: bool) -> dict[str, str]:
    """Return what the modes depend on, as text by name."""
    chosen = {"positions": molecule.positions_av.tolist(), "train.relax": relaxed}
    return (
        without(surface_identity(settings, model), "laboratory")
        | {name: json.dumps(value) for name, value in chosen.items()}
        | {name: str(value) for name, value in deciding(settings, ["geometries"]).items()}
    )
