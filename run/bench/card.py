"""What a reduced model of a molecule is worth: its errors on frames of its own dynamics, its cost, its conserved energy, and
its harmonic frequencies beside those of the full solver.

    python -m run.bench.card INPUT.toml --model FOLDER/model.h5 --output FOLDER/card --record docs/records/cards.json

The frames are those of ``unseen_frames.py``, kept in ``frames.npz`` of the output folder: a killed run goes on.  One core.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.molecule.surface import Owner
from mpiqmd.molecule.vibrations import vibrations
from mpiqmd.parallel.log import Log, silent
from mpiqmd.pipeline.build import build_hifi_surface
from mpiqmd.pipeline.results import write_result
from mpiqmd.statics.derivatives import differentiate
from mpiqmd.units import HARTREE_IN_INVERSE_CM
from run.bench.molecules import circumstances, put_among_others
from run.bench.reduced.common import COMM
from run.bench.unseen_frames import (
    ENERGY_TOLERANCE,
    FEMTOSECONDS,
    Physics,
    Trained,
    UnseenFrames,
    Wanted,
    add_options,
    errors,
    unseen_frames,
)


def main() -> None:
    """Print the card and write it as JSON."""
    arguments, log, about = _arguments(), Log(COMM), circumstances()
    trained = Trained(Physics(arguments.input), arguments.model)
    frames = unseen_frames(trained, Wanted.of(arguments), arguments.output / "frames.npz", log)
    card = _card(trained, frames)
    print(json.dumps(card, indent=2))
    write_result(arguments.output / "card.json", card)
    if arguments.record is not None:
        put_among_others(about, card, arguments.record, "cards")


def _card(trained: Trained, frames: UnseenFrames) -> dict[str, Any]:
    """Return what the module says, Ha and Ha/bohr; a full solution is told in seconds of processor time."""
    found = [trained.owner.at(positions_av) for positions_av in frames.positions_fav]
    energies_f, forces_fav = np.array([each.energy for each in found]), np.array([each.forces_av for each in found])
    arrays = trained.reduced.arrays
    return {
        "formula": trained.physics.molecule.formula,
        "atoms": len(trained.physics.molecule),
        "latent_directions": _length(arrays, "learned/subspaces/directions_dnk"),
        "density_functions": _length(arrays, "learned/points/interaction_f"),
        "points": _length(arrays, "learned/points/mean_q") + _length(arrays, "learned/xc/weights_q"),
        "online": trained.physics.settings.rom.online,
        "modes": trained.reduced.rank,
        "training_geometries": len(trained.reduced.training_positions_sav),
        "megabytes": sum(array.nbytes for array in arrays.values()) / 1e6,
        "steps": len(frames.totals_t),
        "milliseconds_a_step": 1e3 * float(frames.seconds_a_step),
        "drift_per_atom_and_ps": _slope(frames.totals_t) / len(trained.physics.molecule),
        "frames": len(found),
        **errors(energies_f, forces_fav, frames),
        "evaluations": float(np.mean([each.extras["evaluations"] for each in found])),
        "hifi_seconds_a_solve": float(frames.seconds_f.mean()),
        **_frequencies(trained),
    }


def _frequencies(trained: Trained) -> dict[str, Any]:
    """Return harmonic wave numbers of the full solver at the reference geometry and what the model's differ by, 1/cm."""
    physics = trained.physics
    settings = replace(physics.settings, scf=replace(physics.settings.scf, energy_tolerance=ENERGY_TOLERANCE))
    reference, step = physics.molecule.with_positions(trained.reduced.reference_av), settings.frequencies.displacement
    hifi = Owner(build_hifi_surface(settings, physics.model, reference, settings.scf.extrapolation, body_frame=True))
    full_k, reduced_k = (
        HARTREE_IN_INVERSE_CM
        * vibrations(reference, differentiate(reference, owner, step, silent(COMM)).hessian_cc).frequencies_k
        for owner in (hifi, trained.owner)
    )
    return {"frequencies": full_k.tolist(), "frequency_error": float(np.abs(reduced_k - full_k).max(initial=0.0))}


def _length(arrays: dict[str, np.ndarray], name: str) -> int:
    """Return how many there are of what a model's array counts first; none in a model of another form."""
    return len(arrays[name]) if name in arrays else 0


def _slope(energies: np.ndarray) -> float:
    """Return the linear drift of the total energy, Ha/ps."""
    return float(np.polyfit(1e-3 * FEMTOSECONDS * np.arange(len(energies)), energies, 1)[0]) if len(energies) > 1 else np.nan


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="the input that the model was trained with")
    parser.add_argument("--model", type=Path, required=True, help="the model file")
    add_options(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--record", type=Path, help="JSON file of all molecules' cards, from which the page is made")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except MpiqmdError as problem:
        sys.exit(f"card: error: {problem}")
