"""What a reduced model of a molecule is worth: its errors on frames of its own dynamics, also hotter than it was made for, what
it says of them itself, its cost, its conserved energy, and its harmonic frequencies beside those of the full solver.

    python -m run.bench.card INPUT.toml --model FOLDER/model.h5 --output FOLDER/card --record docs/records/cards.json

The frames are those of ``unseen_frames.py``, kept in ``frames.npz`` and ``hot-frames.npz`` of the output folder: a killed run
goes on.  One core.
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
from mpiqmd.pipeline.build import build_hifi_surface, build_online_stage
from mpiqmd.pipeline.results import write_result
from mpiqmd.statics.derivatives import differentiate
from mpiqmd.units import HARTREE_IN_INVERSE_CM
from run.bench.cases import circumstances
from run.bench.molecules import put_among_others
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

STEPS_A_HOT_FRAME = 200
"""Steps between hot frames: 100 fs."""


def main() -> None:
    """Print the card and write it as JSON."""
    arguments, log, about = _arguments(), Log(COMM), circumstances()
    trained = Trained(Physics(arguments.input), arguments.model)
    frames = unseen_frames(trained, Wanted.of(arguments), arguments.output / "frames.npz", log)
    card = _card(trained, frames)
    if arguments.hot_frames:
        hot = Wanted(arguments.hot_frames, STEPS_A_HOT_FRAME * arguments.hot_frames, arguments.hot_temperature)
        card["hot"] = _hot(trained, unseen_frames(trained, hot, arguments.output / "hot-frames.npz", log), hot)
    print(json.dumps(card, indent=2))
    write_result(arguments.output / "card.json", card)
    if arguments.record is not None:
        put_among_others(about, card, arguments.record, "cards")


def _card(trained: Trained, frames: UnseenFrames) -> dict[str, Any]:
    """Return what the module says, Ha and Ha/bohr; a full solution is told in seconds of processor time."""
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
        **_errors(trained, frames),
        "estimate_over_truth": _estimate_over_truth(trained, frames),
        "hifi_seconds_a_solve": float(frames.seconds_f.mean()),
        **_frequencies(trained),
    }


def _errors(trained: Trained, frames: UnseenFrames) -> dict[str, Any]:
    """Return how many frames there are, the errors on them, Ha and Ha/bohr, and the evaluations that one takes."""
    found = [trained.owner.at(positions_av) for positions_av in frames.positions_fav]
    energies_f, forces_fav = np.array([each.energy for each in found]), np.array([each.forces_av for each in found])
    evaluations = float(np.mean([each.extras["evaluations"] for each in found]))
    return {"frames": len(found), **errors(energies_f, forces_fav, frames), "evaluations": evaluations}


def _hot(trained: Trained, frames: UnseenFrames, wanted: Wanted) -> dict[str, Any]:
    """Return the errors on hotter frames, and for how many steps of those asked for the dynamics stayed inside the tables."""
    return {"temperature": wanted.temperature, "steps": len(frames.totals_t), "wanted": vars(wanted)} | _errors(trained, frames)


def _estimate_over_truth(trained: Trained, frames: UnseenFrames) -> dict[str, float]:
    """Return the model's own estimates of its errors over the errors: of root mean squares, and the extremes of frames.

    Of forces it is the largest of the atoms, as the model states it.
    """
    physics, stated, true = trained.physics, [], []
    always = replace(physics.settings, rom=replace(physics.settings.rom, check_every=1, on_large_error="warn"))
    watched = Owner(build_online_stage(always, physics.model, trained.reduced, silent(COMM)).surface)
    for positions_av, forces_av in zip(frames.positions_fav, frames.forces_fav, strict=True):
        found = watched.at(positions_av)
        stated.append(found.extras["force_error_estimate"])
        true.append(np.linalg.norm(found.forces_av - forces_av, axis=1).max())
    ratios_f = np.array(stated) / np.array(true)
    together = float(np.linalg.norm(stated) / np.linalg.norm(true))
    return {"rms": together, "lowest": float(ratios_f.min()), "highest": float(ratios_f.max())}


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
    parser.add_argument("--hot-frames", type=int, default=50, help="frames at a higher temperature (default: 50)")
    parser.add_argument("--hot-temperature", type=float, default=500.0, help="kelvin (default: 500)")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--record", type=Path, help="JSON file of all molecules' cards, from which the page is made")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except MpiqmdError as problem:
        sys.exit(f"card: error: {problem}")
