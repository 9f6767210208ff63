"""What a reduced model of a molecule is worth: its errors on frames of its own dynamics, its cost, its conserved energy.

    python -m run.bench.card INPUT.toml --model FOLDER/model.h5 --output FOLDER/card

The model runs NVE dynamics from its reference geometry with velocities of twice the temperature, half of which ends in the
potential energy; frames of that run, which no training has seen, are solved in full.  One core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from mpiqmd.config import load_input
from mpiqmd.kohnsham.ground_state import ElectronicSolver
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import Log, silent
from mpiqmd.pipeline.build import build_model, build_molecule, build_online_stage, build_solver
from mpiqmd.rom.model import ReducedModel
from mpiqmd.units import ATOMIC_TIME_IN_FS
from run.bench.reduced.common import COMM, nve

FEMTOSECONDS = 0.5
"""Timestep of the dynamics."""
QUANTILES = (0.5, 0.9, 1.0)


def main() -> None:
    """Print the card and write it as JSON."""
    arguments = _arguments()
    settings, log = load_input(arguments.input), Log(COMM)
    molecule = build_molecule(settings, COMM)
    model = build_model(settings, COMM, molecule)
    reduced = ReducedModel.load(arguments.model, COMM, model.grid, model.signature())
    stage = build_online_stage(settings, model, reduced, silent(COMM))
    owner = Owner(stage.surface.surface)
    card: dict[str, Any] = {
        "online": settings.rom.online,
        "modes": reduced.rank,
        "training_geometries": len(reduced.training_positions_sav),
        "megabytes": sum(array.nbytes for array in reduced.arrays.values()) / 1e6,
    }
    timestep, every = FEMTOSECONDS / ATOMIC_TIME_IN_FS, max(1, arguments.steps // arguments.frames)
    start, started = (reduced.reference_av, molecule.masses_a), time.perf_counter()
    energies, frames = nve(owner, *start, timestep, arguments.steps, every, kelvin=2.0 * arguments.temperature)
    card["steps"] = len(energies)
    card["milliseconds_a_step"] = 1e3 * (time.perf_counter() - started) / max(1, len(energies))
    card["drift_per_atom_and_ps"] = _slope(energies) / len(molecule)
    card |= _errors(model, build_solver(settings, model, energy_tolerance=1e-10), stage.frame, owner, frames, log)
    log(json.dumps(card, indent=2))
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "card.json").write_text(json.dumps(card, indent=2) + "\n")


def _slope(energies: np.ndarray) -> float:
    """Return the linear drift of the total energy, Ha/ps."""
    return float(np.polyfit(1e-3 * FEMTOSECONDS * np.arange(len(energies)), energies, 1)[0]) if len(energies) > 1 else np.nan


def _errors(
    model: KohnShamModel, solver: ElectronicSolver, frame: BodyFrame, owner: Owner, frames: list[np.ndarray], log: Log
) -> dict[str, Any]:
    """Return the errors on frames against full solves: energies (Ha) and all components of forces (Ha/bohr)."""
    energies, forces, evaluations, started = [], [], [], time.perf_counter()
    for number, positions_av in enumerate(frames, 1):
        alignment = frame.align(positions_av)
        exact = solver.solve(model.place(alignment.body_positions_av))
        found = owner.at(positions_av)
        energies.append(found.energy - exact.free_energy)
        forces.append(found.forces_av - alignment.gradient_forces(exact.gradient_av))
        evaluations.append(found.extras["evaluations"])
        log.progress(f"Hi-Fi {number}/{len(frames)}", last=number == len(frames))
    sizes = np.abs(forces).max(axis=(1, 2))
    return {
        "frames": len(frames),
        "energy_mean": float(np.mean(energies)),
        "energy_rms": float(np.sqrt(np.mean(np.square(energies)))),
        "energy_largest": float(np.abs(energies).max()),
        "force_rms": float(np.sqrt(np.mean(np.square(forces)))),
        "force_largest": float(sizes.max()),
        "force_quantiles": {f"{q:g}": float(np.quantile(sizes, q)) for q in QUANTILES},
        "evaluations": float(np.mean(evaluations)),
        "hifi_seconds_a_solve": (time.perf_counter() - started) / len(frames),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="the input that the model was trained with")
    parser.add_argument("--model", type=Path, required=True, help="the model file")
    parser.add_argument("--frames", type=int, default=100, help="frames to solve in full (default: 100)")
    parser.add_argument("--steps", type=int, default=20_000, help="steps of 0.5 fs (default: 20000)")
    parser.add_argument("--temperature", type=float, default=300.0, help="kelvin (default: 300)")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
