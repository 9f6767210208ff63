"""The vibrations about which a molecule is sampled: relaxed and differenced on the Hi-Fi surface in the body frame, once.

Every evaluation is kept as it is made and the result in ``modes.json``, from which the jobs of an array read it.
"""

from __future__ import annotations

import json
from pathlib import Path

from mpiqmd.config.settings import Settings
from mpiqmd.errors import ConfigError
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import oriented
from mpiqmd.molecule.surface import Owner
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
from mpiqmd.units import HARTREE_IN_INVERSE_CM

MODES_FILE = "modes.json"
RELAX_JOURNAL, HESSIAN_JOURNAL = "modes-relax.jsonl", "modes-hessian.jsonl"


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
    comm, sides = model.grid.comm, model.grid.sides
    start = oriented(molecule, sides)

    def owner(about: Molecule, journal: str) -> Owner:
        rule = settings.scf.extrapolation
        hifi = build_hifi_surface(settings, model, about, rule, body_frame=True, watch=solver.watch)
        interruptible = InterruptibleSurface(hifi, solver.interruption, comm)
        return Owner(JournaledSurface(interruptible, folder / journal, identity, comm))

    if relaxed:
        path = relax(start, owner(start, RELAX_JOURNAL), settings.relax, comm, log)
        path.require_converged(settings.relax, "set train.relax = false")
        start = oriented(molecule.with_positions(path.positions_sav[-1]), sides)
    derivatives = differentiate(start, owner(start, HESSIAN_JOURNAL), settings.frequencies.displacement, log)
    return HessianAt(start.positions_av, derivatives.hessian_cc)


def _identity(settings: Settings, model: KohnShamModel, molecule: Molecule, relaxed: bool) -> dict[str, str]:
    """Return what the modes depend on, as text by name."""
    chosen = {"positions": molecule.positions_av.tolist(), "train.relax": relaxed}
    return (
        without(surface_identity(settings, model), "laboratory")
        | {name: json.dumps(value) for name, value in chosen.items()}
        | {name: str(value) for name, value in deciding(settings, ["geometries"]).items()}
    )
