"""Frames of a reduced model's own dynamics that no training has seen, solved in full: what surfaces are judged by.

The model runs NVE dynamics from its reference geometry with velocities of twice the temperature, half of which ends in the
potential energy.  Dynamics and full solutions are kept in one file, so that a killed run goes on where it was, and so that
other surfaces are judged by the same frames.
"""

from __future__ import annotations

import argparse
import json
import time
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mpiqmd.config import load_input
from mpiqmd.datafiles import replacing, stored_digest
from mpiqmd.errors import ConfigError, ConvergenceError, DataFileError
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import Log, silent
from mpiqmd.pipeline.build import build_model, build_molecule, build_online_stage, build_solver
from mpiqmd.rom.error_statistics import Errors, statistics
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.validation import exact_forces
from mpiqmd.units import ATOMIC_TIME_IN_FS
from run.bench.cases import Stopwatch
from run.bench.reduced.common import COMM, nve

FEMTOSECONDS = 0.5
"""Timestep of the dynamics."""
TIMESTEP = FEMTOSECONDS / ATOMIC_TIME_IN_FS
ENERGY_TOLERANCE = 1e-10
"""Of the full solutions, Ha."""


class Physics:
    """What an input describes: its molecule and the full model, for one core.

    Parameters
    ----------
    path
        The input file.
    """

    def __init__(self, path: Path) -> None:
        self.settings = load_input(path)
        self.molecule = build_molecule(self.settings, COMM)
        self.model = build_model(self.settings, COMM, self.molecule)


class Trained:
    """A reduced model of that physics, ready to be asked.

    Parameters
    ----------
    physics
        The input that it was trained with.
    path
        Its file.
    """

    def __init__(self, physics: Physics, path: Path) -> None:
        self.physics = physics
        self.reduced = ReducedModel.load(path, COMM, physics.model.grid, physics.model.signature())
        self.digest = stored_digest(path)
        self.stage = build_online_stage(physics.settings, physics.model, self.reduced, silent(COMM))
        self.owner = Owner(self.stage.surface.surface)

    def dynamics(self, steps: int, keep_every: int, temperature: float) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return total energies (Ha) and every so many positions (bohr) of the NVE dynamics that the module describes."""
        start = self.reduced.reference_av, self.physics.molecule.masses_a
        return nve(self.owner, *start, TIMESTEP, steps, keep_every, kelvin=2.0 * temperature)

    def training_forces(self) -> np.ndarray:
        """Return the forces at the training geometries, shape (S, N, 3), Ha/bohr: exact gradients, as those of frames are."""
        reduced = self.reduced
        return exact_forces(self.stage.frame, reduced.training_positions_sav, reduced.training_forces_sav)


@dataclass(frozen=True)
class Wanted:
    """How many frames are asked for, of how many steps, at which temperature (kelvin)."""

    frames: int
    steps: int
    temperature: float

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Wanted:
        """Return what the options of :func:`add_options` say."""
        return cls(arguments.frames, arguments.steps, arguments.temperature)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that wants frames."""
    parser.add_argument("--frames", type=int, default=100, help="frames to solve in full (default: 100)")
    parser.add_argument("--steps", type=int, default=20_000, help="steps of 0.5 fs of the dynamics (default: 20000)")
    parser.add_argument("--temperature", type=float, default=300.0, help="of the dynamics, kelvin (default: 300)")


@dataclass
class UnseenFrames:
    """Frames of the dynamics and what the full solver says about them.

    Attributes
    ----------
    totals_t
        Total energy after every step of the dynamics, Ha.
    seconds_a_step
        Processor time of a step.
    positions_fav, energies_f, forces_fav
        Frames in the laboratory (bohr), their energies (Ha) and exact forces (Ha/bohr); NaN until a frame is solved.
    seconds_f
        Processor time of each full solution, from atoms.
    """

    totals_t: np.ndarray
    seconds_a_step: np.ndarray
    positions_fav: np.ndarray
    energies_f: np.ndarray
    forces_fav: np.ndarray
    seconds_f: np.ndarray

    @property
    def pending(self) -> list[int]:
        """Frames still to be solved."""
        return [int(frame) for frame in np.flatnonzero(np.isnan(self.energies_f))]


def unseen_frames(trained: Trained, wanted: Wanted, path: Path, log: Log) -> UnseenFrames:
    """Return frames that are solved in full, from the file as far as it has them; the rest is added to it.

    Raises ConfigError if the file belongs to another model or other frames, or if the dynamics gives no frame.
    """
    key = json.dumps({"model": trained.digest, "timestep_fs": FEMTOSECONDS} | asdict(wanted), sort_keys=True)
    if path.exists():
        frames = read_frames(path, key)
    else:
        frames = _run(trained, wanted, log)
        write_frames(path, key, frames)
    pending, solver = frames.pending, None
    for number, frame in enumerate(pending, 1):
        solver = solver or build_solver(trained.physics.settings, trained.physics.model, energy_tolerance=ENERGY_TOLERANCE)
        alignment, watch = trained.stage.frame.align(frames.positions_fav[frame]), Stopwatch()
        with watch():
            exact = solver.solve(trained.physics.model.place(alignment.body_positions_av))
        frames.energies_f[frame], frames.seconds_f[frame] = exact.free_energy, watch.cpu
        frames.forces_fav[frame] = alignment.gradient_forces(exact.gradient_av)
        write_frames(path, key, frames)
        log.progress(f"Hi-Fi {number}/{len(pending)}", last=number == len(pending))
    return frames


def orientation_ripple(trained: Trained, frames: UnseenFrames, count: int, seed: int) -> float | None:
    """Return by how much the orientation in the grid changes forces: rms of all components of some frames, Ha/bohr.

    Each is solved once more, turned at random.  An error smaller than this is one against the discretised surface in the
    molecule's frame, ripple of the grid included.  None without frames.
    """
    model, rng, changes = trained.physics.model, np.random.default_rng(seed), []
    solver = build_solver(trained.physics.settings, model, energy_tolerance=ENERGY_TOLERANCE)
    for frame in rng.permutation(len(frames.positions_fav))[:count]:
        turn_vv = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
        alignment = trained.stage.frame.align(frames.positions_fav[frame])
        turned = solver.solve(model.place(alignment.body_positions_av @ turn_vv.T))
        changes.append(alignment.gradient_forces(turned.gradient_av @ turn_vv) - frames.forces_fav[frame])
    return float(np.sqrt(np.mean(np.square(changes)))) if changes else None


def _run(trained: Trained, wanted: Wanted, log: Log) -> UnseenFrames:
    """Run the dynamics; its frames are not solved yet."""
    log(f"NVE dynamics of {wanted.steps} steps")
    started = time.process_time()
    every = max(1, wanted.steps // wanted.frames)
    totals_t, kept = trained.dynamics(wanted.steps, every, wanted.temperature)
    if not kept:
        raise ConfigError(
            f"the dynamics left the model's tables after {len(totals_t)} steps, before its first frame (step {every}). "
            "Ask for more frames (--frames), a lower --temperature, or train a wider model."
        )
    if len(totals_t) < wanted.steps:
        log(f"the dynamics left the model's tables after {len(totals_t)} steps of {wanted.steps}: {len(kept)} frames")
    positions_fav = np.array(kept)
    return UnseenFrames(
        totals_t=totals_t,
        seconds_a_step=np.array((time.process_time() - started) / len(totals_t)),
        positions_fav=positions_fav,
        energies_f=np.full(len(kept), np.nan),
        forces_fav=np.full_like(positions_fav, np.nan),
        seconds_f=np.full(len(kept), np.nan),
    )


def write_frames(path: Path, key: str, frames: UnseenFrames) -> None:
    """Write frames and what they belong to; a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside, open(beside, "wb") as stream:
        np.savez(stream, key=np.array(key), **{field.name: getattr(frames, field.name) for field in fields(frames)})


def read_frames(path: Path, key: str) -> UnseenFrames:
    """Return the frames of a file.  Raises ConfigError if it belongs to something else, DataFileError if it is damaged."""
    try:
        with np.load(path) as stored:
            found = str(stored["key"])
            frames = UnseenFrames(**{field.name: stored[field.name] for field in fields(UnseenFrames)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as problem:
        raise DataFileError(f"{path}: no file of frames ({problem}). Remove it: the frames are solved again.") from None
    if found != key:
        raise ConfigError(
            f"{path} holds frames of {found}, asked for is {key}. Use the options they were made with, another --output "
            "folder, or remove the file."
        )
    return frames


def errors(energies_f: np.ndarray, forces_fav: np.ndarray, frames: UnseenFrames) -> dict[str, int | float | dict[str, float]]:
    """Return the errors of a surface on the frames: energies (Ha), all components of forces (Ha/bohr).

    ``force_quantiles`` are those of the largest component of a frame.  Frames without an answer, NaN, are ``unanswered``, no
    more.  Raises ConvergenceError if there is none with an answer.
    """
    missed = Errors(energies_f - frames.energies_f, forces_fav - frames.forces_fav, np.full(len(energies_f), np.nan))
    found = statistics(missed, offset=0.0)
    if found is None or found["energy"] is None:
        raise ConvergenceError("the surface has no answer on any frame. Train it on more geometries.")
    energy, force = found["energy"], found["force"]
    return {
        "unanswered": found["unanswered"],
        "energy_mean": energy["mean"],
        "energy_rms": energy["rms"],
        "energy_largest": energy["largest"],
        "force_rms": force["rms"],
        "force_largest": force["largest"],
        "force_quantiles": force["quantiles"],
    }
