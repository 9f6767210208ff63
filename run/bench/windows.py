"""What the models of a molecule that turns or inverts are worth: errors on frames of dynamics through all windows, energy kept
at their borders, and the profile of the coordinate beside that of the full solver.

    python -m run.bench.windows INPUT.toml --model FOLDER/model.h5 --output FOLDER/windows --record docs/records/windows.json

The full solver is asked in the frames of the windows and its energies are blended with the same weights: what is compared is
what the models reproduce.  Full solutions are kept in the output folder, a killed run goes on.  One core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpiqmd.errors import GeometryError, MpiqmdError
from mpiqmd.hifi.body_solver import HifiBodySolver
from mpiqmd.md.dynamics import Dynamics
from mpiqmd.md.nuclei import make_nuclei
from mpiqmd.md.thermostats.thermostat import NoThermostat
from mpiqmd.md.velocities import maxwell_boltzmann
from mpiqmd.molecule.body_surface import BodySurface, MovingFrame
from mpiqmd.molecule.frame import BodyFrame, make_frame
from mpiqmd.molecule.large_amplitude import difference
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.relabelling import relabellings
from mpiqmd.molecule.surface import Owner, Surface
from mpiqmd.parallel.log import Log, silent
from mpiqmd.pipeline.build import build_solver
from mpiqmd.pipeline.reduced import build_rom_surface
from mpiqmd.pipeline.results import write_result
from mpiqmd.rom.error_statistics import Errors, statistics
from mpiqmd.rom.model import read_reference
from mpiqmd.rom.reactions import Limits, Tolerance
from mpiqmd.rom.validation import exact_forces
from mpiqmd.rom.windowed_model import WindowedModel
from mpiqmd.rom.windowed_surface import WindowedSurface
from mpiqmd.statics.journaled import JournaledSurface
from mpiqmd.statics.relaxation import relax
from mpiqmd.statics.restrained import RestrainedSurface
from mpiqmd.units import ATOMIC_TIME_IN_FS, KELVIN_IN_HARTREE
from run.bench.cases import circumstances
from run.bench.molecules import put_among_others
from run.bench.peer_codes.potential_process import Process, Solved
from run.bench.potentials import PEERS, SCRIPTS
from run.bench.reduced.common import COMM
from run.bench.unseen_frames import ENERGY_TOLERANCE, FEMTOSECONDS, TIMESTEP, Physics

TRAINING = ("positions", "energies", "forces")
WARM = 300.0
"""Kelvin of the frames."""
RUNS = 10
"""Independent runs that frames are taken from."""
APART = 20
"""Points of the profile along the coordinate."""


class Compared:
    """The blended surface of the models, and that of the full solver in the same frames with the same weights.

    Parameters
    ----------
    physics
        The input.
    path
        The file of all windows.
    output
        Where full solutions are kept.
    """

    def __init__(self, physics: Physics, path: Path, output: Path) -> None:
        settings = replace(physics.settings, rom=replace(physics.settings.rom, check_every=0, on_large_error="stop"))
        surface, self.digest, _ = build_rom_surface(settings, physics.model, path, silent(COMM))
        assert isinstance(surface, WindowedSurface), f"{path} is no file of windows"
        self.physics, self.reduced, self.windows = physics, surface, surface.windows
        self.path, self.output, self.models = path, output, WindowedModel.load(path)
        exact = replace(settings, scf=replace(settings.scf, energy_tolerance=ENERGY_TOLERANCE))

        @cache
        def hifi_of(window: int) -> Surface:
            # in the very frame of the model: where the molecule lies in the grid is part of what it reproduces
            moving = MovingFrame(self.frame(window), physics.model.grid.periodic_cell_v)
            solver = HifiBodySolver(physics.model, build_solver(exact, physics.model), "none", exact.scf.extrapolation_steps)
            return BodySurface(moving, solver)

        limits = Limits.named(0, Tolerance.of(None), "warn")
        self.full = WindowedSurface(self.windows, hifi_of, limits, COMM)

    def frame(self, window: int) -> BodyFrame:
        """Return the body frame of a window's model."""
        reference_av, name = read_reference(self.models.model_path(self.path, window))
        return make_frame(self.physics.molecule.with_positions(reference_av), name)

    def training(self) -> Solved:
        """Return the training geometries of all models in their body frames, with full energies and exact forces."""
        parts = []
        for window in self.windows.distinct:
            with h5py.File(self.models.model_path(self.path, window), "r") as file:
                positions_sav, energies_s, forces_sav = (file[f"training/{name}"][:] for name in TRAINING)
            parts.append((positions_sav, energies_s, exact_forces(self.frame(window), positions_sav, forces_sav)))
        positions, energies, forces = (np.concatenate(each) for each in zip(*parts, strict=True))
        return Solved(positions, energies, forces)

    def in_full(self, name: str) -> Owner:
        """Return an owner of the full surface whose answers to the same questions in the same order are kept in a file."""
        return Owner(JournaledSurface(self.full, self.output / f"{name}.jsonl", {"model": self.digest, "of": name}, COMM))


@dataclass(frozen=True, eq=False)
class Frames:
    """Positions (F, N, 3), bohr, full energies (F,), Ha, and forces (F, N, 3), Ha/bohr; processor seconds of a reduced step."""

    positions_fav: np.ndarray
    energies_f: np.ndarray
    forces_fav: np.ndarray
    seconds: float


@dataclass(frozen=True, eq=False)
class Run:
    """An NVE run: total energies (Ha) and windows after every step, positions of the frames (bohr), seconds a step."""

    totals_t: np.ndarray
    windows_t: np.ndarray
    frames: list[np.ndarray]
    seconds: float

    @property
    def crossings(self) -> int:
        """How often the molecule went from one window into another."""
        return int(np.count_nonzero(np.diff(self.windows_t)))


def main() -> None:
    """Print the card and write it as JSON."""
    arguments, log, about = _arguments(), Log(COMM), circumstances()
    arguments.output.mkdir(parents=True, exist_ok=True)
    compared = Compared(Physics(arguments.input), arguments.model, arguments.output)
    start = relaxed(compared, None, compared.physics.molecule, log)
    frames = solved_frames(compared, start, arguments.frames, log)
    card = {
        "formula": compared.physics.molecule.formula,
        "atoms": len(compared.physics.molecule),
        "coordinate": compared.windows.coordinate.name,
        "windows": len(compared.windows),
        "distinct": len(compared.windows.distinct),
        "warm": errors_on_frames(compared, frames, log),
        "potential": beside_sgdml(compared, frames, arguments.sgdml_python, log) if arguments.sgdml else None,
        "long": energy_kept(compared, start, arguments.long_temperature, arguments.picoseconds, log),
        "profile": profile(compared, start, log),
    }
    print(json.dumps(card, indent=2))
    write_result(arguments.output / "card.json", card)
    if arguments.record is not None:
        put_among_others(about, card, arguments.record, "windows")


def relaxed(compared: Compared, value: float | None, start: Molecule, log: Log) -> Molecule:
    """Return the minimum of the models, where the coordinate is held at a value if one is given."""
    surface: Surface = compared.reduced
    if value is not None:
        surface = RestrainedSurface(surface, compared.windows.coordinate, value)
    goal = replace(compared.physics.settings.relax, force_tolerance=1e-5, max_steps=300)
    path = relax(start, Owner(surface), goal, COMM, silent(COMM))
    path.require_converged(goal, "begin elsewhere")
    log.progress(f"relaxed in {len(path.positions_sav)} steps", last=True)
    return start.with_positions(path.positions_sav[-1])


def run(compared: Compared, start: Molecule, kelvin: float, steps: int, every: int, seed: int) -> Run:
    """Return an NVE run from a minimum with velocities of twice the temperature; it ends where the models end."""
    nuclei, owner = make_nuclei(start, (), remove_translation=True, remove_rotation=True), Owner(compared.reduced)
    velocities_av = maxwell_boltzmann(2.0 * kelvin * KELVIN_IN_HARTREE, seed, start.positions_av, nuclei)
    dynamics = Dynamics(nuclei, start.positions_av, velocities_av, TIMESTEP, NoThermostat())
    totals, windows, frames, started = [], [], [], time.process_time()
    dynamics.accept(owner.at(dynamics.propose()))
    for step in range(1, steps + 1):
        try:
            dynamics.accept(owner.at(dynamics.propose()))
        except GeometryError:
            break
        totals.append(dynamics.observables()["total_energy"])
        windows.append(dynamics.observables()["window"])
        if every and step % every == 0:
            frames.append(dynamics.positions_av.copy())
    seconds = (time.process_time() - started) / max(1, len(totals))
    return Run(np.array(totals), np.array(windows), frames, seconds)


def solved_frames(compared: Compared, start: Molecule, count: int, log: Log) -> Frames:
    """Return frames of several runs at 300 K, 100 fs apart, with what the full solver says of them."""
    each = -(-count // RUNS)
    runs = [run(compared, start, WARM, 200 * each, 200, seed) for seed in range(RUNS)]
    positions = [frame for one in runs for frame in one.frames][:count]
    full, exact = compared.in_full("frames"), []
    for number, positions_av in enumerate(positions, start=1):
        exact.append(full.at(positions_av))
        log.progress(f"Hi-Fi {number}/{len(positions)}", last=number == len(positions))
    energies, forces = np.array([each.energy for each in exact]), np.array([each.forces_av for each in exact])
    return Frames(np.array(positions), energies, forces, float(np.mean([one.seconds for one in runs])))


def errors_on_frames(compared: Compared, frames: Frames, log: Log) -> dict[str, Any]:
    """Return the errors of energies without their mean (Ha) and of all components of forces (Ha/bohr) on the frames."""
    reduced = Owner(compared.reduced)
    found = [reduced.at(positions_av) for positions_av in frames.positions_fav]
    forces_fav = np.array([each.forces_av for each in found]) - frames.forces_fav
    return {
        "temperature": WARM,
        **sizes(np.array([each.energy for each in found]) - frames.energies_f, forces_fav),
        "values": [each.extras["window_coordinate"] for each in found],
        "force_largest_f": np.abs(forces_fav).max(axis=(1, 2)).tolist(),
        "milliseconds_a_step": 1e3 * frames.seconds,
    }


def sizes(energies_f: np.ndarray, forces_fav: np.ndarray) -> dict[str, float | int]:
    """Return the sizes of errors of energies (F,), Ha, without their mean, and of forces (F, N, 3), Ha/bohr."""
    errors = Errors(energies_f, forces_fav, np.full(len(energies_f), np.nan))
    found = statistics(errors, errors.offset)
    assert found is not None, "there are frames"
    of = {f"{kind}_{name}": found[kind][name] for kind in ("energy", "force") for name in ("rms", "largest")}
    return {"frames": found["count"], **of}


def beside_sgdml(compared: Compared, frames: Frames, python: str, log: Log) -> dict[str, Any]:
    """Return the errors of an sGDML potential that is trained on the same full solutions, and the time of its step, ms.

    It knows all exchanges of atoms that the windows use; distances, by which it describes a molecule, know mirror images.
    """
    peer, molecule = PEERS["sgdml"], compared.physics.molecule
    solved = compared.training()
    permutations = [list(each.permutation) for each in relabellings(molecule) if not each.mirrored]
    with closing(Process(python, peer.module, SCRIPTS / peer.script, compared.output / "sgdml.log", peer.install)) as process:
        potential, notes = process.train(molecule.symbols, solved, permutations=permutations, symmetric=True)
        log(f"sGDML has learnt from {len(solved)} geometries: {notes}")
        energies_f, forces_fav, seconds_f = potential.evaluate(frames.positions_fav)
    found = sizes(energies_f - frames.energies_f, forces_fav - frames.forces_fav)
    return {"solves": len(solved), **found, "milliseconds_a_step": 1e3 * float(np.median(seconds_f))}


def energy_kept(compared: Compared, start: Molecule, kelvin: float, picoseconds: float, log: Log) -> dict[str, Any]:
    """Return the drift of the energy of a long run (Ha per atom and ps), its fluctuation (Ha), and the borders it crossed."""
    one = run(compared, start, kelvin, round(1e3 * picoseconds / FEMTOSECONDS), 0, RUNS)
    times = 1e-3 * FEMTOSECONDS * np.arange(len(one.totals_t))
    log(f"{len(one.totals_t)} steps at {kelvin:.0f} K, {one.crossings} times from one window into another")
    return {
        "temperature": kelvin,
        "picoseconds": float(times[-1]),
        "crossings": one.crossings,
        "drift_per_atom_and_ps": float(np.polyfit(times, one.totals_t, 1)[0]) / len(start),
        "fluctuation": float(np.std(one.totals_t)),
        "timestep": TIMESTEP * ATOMIC_TIME_IN_FS,
        "milliseconds_a_step": 1e3 * one.seconds,
    }


def profile(compared: Compared, start: Molecule, log: Log) -> dict[str, list[float]]:
    """Return energies (Ha, above the lowest) of models and full solver along the coordinate, at minima of the models."""
    windows, full, reduced = compared.windows, compared.in_full("profile"), Owner(compared.reduced)
    last = windows.centres_w[-1] if windows.coordinate.period is None else max(windows.centres_w[windows.distinct])
    values = np.linspace(windows.centres_w[0], last, APART + 1)
    found: dict[str, list[float]] = {"values": [], "models": [], "full": []}
    for number, value in enumerate(values, start=1):
        begin = start.with_positions(windows.coordinate.moved(start.positions_av, float(value)))
        there_av = relaxed(compared, float(value), begin, silent(COMM)).positions_av
        off = difference(windows.coordinate, windows.coordinate.value(there_av), float(value))
        found["values"].append(float(value) + off)
        found["models"].append(reduced.at(there_av).energy)
        found["full"].append(full.at(there_av).energy)
        log.progress(f"profile {number}/{len(values)}", last=number == len(values))
    for name in ("models", "full"):
        found[name] = (np.array(found[name]) - min(found[name])).tolist()
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="the input that the models were trained with")
    parser.add_argument("--model", type=Path, required=True, help="the file of all windows")
    parser.add_argument("--frames", type=int, default=100, help="frames at 300 K to solve in full (default: 100)")
    parser.add_argument("--picoseconds", type=float, default=50.0, help="of the long run (default: 50)")
    parser.add_argument("--long-temperature", type=float, default=500.0, help="of the long run, kelvin (default: 500)")
    parser.add_argument("--sgdml", action="store_true", help="train an sGDML potential on the same full solutions, too")
    parser.add_argument("--sgdml-python", default=sys.executable, help="the Python that has sgdml (default: this one)")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--record", type=Path, help="JSON file of all molecules' cards, from which the page is made")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except MpiqmdError as problem:
        sys.exit(f"windows: error: {problem}")
