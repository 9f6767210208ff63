"""``mpiqmd evaluate``: energies and forces of many geometries, with either solver."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.exchange.structure import Structure, not_finite
from mpiqmd.exchange.structure_files import write_structures
from mpiqmd.findings import Finding, closing
from mpiqmd.kohnsham.checks import GroundStateWatch
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.judgement import judgement_for_ase, per_atom_for_ase
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Surface
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.parallel.interruption import Interruption
from mpiqmd.pipeline.build import build_hifi_surface, build_model, build_molecule, read_frames, structure_of
from mpiqmd.pipeline.identity import surface_identity
from mpiqmd.pipeline.reduced import build_rom_surface
from mpiqmd.pipeline.surface import error_checks, on_errors, on_ground_states, print_checks
from mpiqmd.rom.watch import Watch, numbered
from mpiqmd.rom.watched import WatchedSurface
from mpiqmd.statics.evaluated_frames import EvaluatedFrames, evaluate_frames

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


JOURNAL_FILE, EVALUATED_FILE = "evaluate.jsonl", "evaluated.extxyz"
AT_ONCE = 64
"""Frames of a reduced model between two writes to the journal; of the full solver it is one."""
MOST_NAMED = 10
"""Failed frames that the summary names; ``result.json`` names all."""


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Evaluate every geometry of a file; write ``evaluated.extxyz`` and return what ``result.json`` holds.  Collective.

    A frame that fails does not stop the others: it is named with its error, has null in the lists, and the status is 1.
    Every evaluation is in ``evaluate.jsonl`` as soon as it is made, from which the same command goes on.
    """
    settings, folder = arguments.settings, arguments.folder
    molecule = build_molecule(settings, comm)
    positions_sav = read_frames(settings, molecule, arguments.structures, comm)
    model = build_model(settings, comm, molecule)
    surface, identity, standing = _surface(arguments, model, molecule, log)
    refused = not_finite(positions_sav, molecule.symbols)
    for frame, words in refused.items():
        log(f"warning: frame {frame} failed: {words}")
    frames = EvaluatedFrames(folder / JOURNAL_FILE, identity, positions_sav, comm, refused)
    interruption = Interruption()
    with interruption.listening():
        seconds = evaluate_frames(surface, frames, AT_ONCE if arguments.model else 1, interruption, log)
    on_rank_zero(comm, _write, frames, folder / EVALUATED_FILE, structure_of(settings, molecule))
    failed = decide(comm, sorted(frames.errors.items()))
    seen = _seen(surface, frames)
    print_checks(surface, seen, log.afterwards, numbered("geometry"))
    _print_summary(failed, len(positions_sav), folder / EVALUATED_FILE, log.afterwards)
    lost = [Finding(False, f"{len(failed)} of them failed")] if failed else []
    purpose = f"the energies and forces of {len(positions_sav)} geometries"
    verdict = closing(purpose, [*lost, *standing(), *on_errors(surface, seen)])
    log.afterwards(verdict["words"])
    return {
        "solver": "hifi" if arguments.model is None else "rom",
        "online": settings.rom.online if arguments.model else None,
        "forces_as": _forces_as(arguments, settings),
        "body_frame": bool(_in_body_frame(arguments) or arguments.model),
        "positions": positions_sav,
        "energies": frames.energies_s,
        "forces": frames.forces_sav,
        "extras": frames.extras,
        "per_atom": frames.per_atom,
        "failed": [{"frame": frame, "error": error} for frame, error in failed],
        "seconds_per_geometry": float(np.median(seconds)) if seconds else None,
        "exit_status": 1 if failed else 0,
        "verdict": verdict,
        **error_checks(surface, seen),
    }


def _seen(surface: Surface, frames: EvaluatedFrames) -> Watch:
    """Return what was seen of a reduced surface's errors, by the numbers of the frames, those of earlier runs too.

    Collective.
    """
    if not isinstance(surface, WatchedSurface):
        return Watch()
    tolerance = surface.limits.tolerance

    def seen() -> Watch:
        done = np.flatnonzero(frames.is_done_s).tolist()
        return Watch.of_frames(frames.extras, done, len(frames.positions_sav), tolerance)

    return on_rank_zero(frames.comm, seen)


def _write(frames: EvaluatedFrames, path: Path, structure: Structure) -> None:
    """Write the frames that are evaluated, if any; rank 0."""
    good = np.flatnonzero(frames.is_done_s)
    if not len(good):
        path.unlink(missing_ok=True)
        return
    notes = [_notes(frames, frame) for frame in good]
    columns = [per_atom_for_ase({name: values_sa[frame] for name, values_sa in frames.per_atom.items()}) for frame in good]
    arrays = frames.positions_sav[good], frames.energies_s[good], frames.forces_sav[good]
    write_structures(path, structure, *arrays, notes=notes, columns=columns)


def _notes(frames: EvaluatedFrames, frame: int) -> dict[str, float | int]:
    """Return what is written of a frame beside energy and forces: its number where others failed, and how good it is."""
    known = judgement_for_ase({name: values_s[frame] for name, values_s in frames.extras.items()})
    return known | ({"frame": int(frame)} if frames.errors else {})


def _print_summary(failed: list[tuple[int, str]], count: int, path: Path, log: Log) -> None:
    if len(failed) < count:
        log(f"{count - len(failed)} geometries written to {path}")
    if failed:
        named = ", ".join(str(frame) for frame, _ in failed[:MOST_NAMED]) + (", ..." if len(failed) > MOST_NAMED else "")
        log(f"{len(failed)} of {count} frames failed (counted from 0: {named}); result.json has their errors")


def _forces_as(arguments: argparse.Namespace, settings: Settings) -> str:
    """Return how the forces were made: ``rom.forces``, ``gradient`` through the body frame, or the net-force treatment."""
    if arguments.model is not None:
        return settings.rom.forces
    if _in_body_frame(arguments):
        return "gradient"
    return "net force kept" if settings.md.pinned else f"net force {_TREATED[settings.scf.net_force]}"


_TREATED = {"remove": "removed", "keep": "kept"}


def _surface(
    arguments: argparse.Namespace, model: KohnShamModel, molecule: Molecule, log: Log
) -> tuple[Surface, dict[str, str], Callable[[], list[Finding]]]:
    """Return the surface, what the evaluations of an interrupted run must share, and how good the surface is.  Collective."""
    settings, in_body = arguments.settings, _in_body_frame(arguments)
    how = {"forces_as": _forces_as(arguments, settings), "body_frame": str(in_body)}
    if arguments.model is None:
        watch = GroundStateWatch(model, log)
        surface = build_hifi_surface(settings, model, molecule, extrapolation=None, body_frame=in_body, watch=watch)
        return surface, surface_identity(settings, model) | how, lambda: on_ground_states(watch)
    reduced, digest, standing = build_rom_surface(settings, model, arguments.model, log, check_every=1)
    return reduced, surface_identity(settings, model, digest) | how, lambda: [standing]


def _in_body_frame(arguments: argparse.Namespace) -> bool:
    """Return whether geometries are solved in the body frame: asked for here, or by the input."""
    return bool(arguments.body_frame or arguments.settings.scf.frame == "body")
