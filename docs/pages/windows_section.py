"""The section of molecules that turn or invert: what models of windows are worth."""

from __future__ import annotations

from math import degrees
from typing import Any

import numpy as np

from docs.pages.tables import table
from mpiqmd.units import HARTREE_IN_KCAL_PER_MOL

WINDOWS = (
    "Molecules that turn",
    "Models of windows along an internal rotation or an inversion, blended (`train.sampling = 'torsion'`, `'inversion'`): "
    "errors on frames of NVE dynamics at 300 K through all windows, against full solutions in the same frames with the same "
    "weights; a long run through their borders; and the energy along the coordinate, relaxed otherwise, where the "
    "full solver is asked at the models' geometries. LDA, GTH, order 8, 0.188 bohr, trained at 400 K: `python -m "
    "run.bench.windows INPUT.toml --model FOLDER/model.h5 --output FOLDER/windows`. Times are of a machine with other work.",
)
"""Heading and text of the section."""


def windows_tables(record: dict[str, Any]) -> list[str]:
    """Return errors, conservation of energy, and barriers of each molecule."""
    errors, kept, barriers = [], [], []
    for card in record["windows"]:
        warm, long, potential = card["warm"], card["long"], card.get("potential")
        windows = f"{card['windows']} ({card['distinct']} distinct)"
        errors.append([card["formula"], card["coordinate"], windows, *_errors(warm)])
        if potential is not None:
            errors.append([f"{card['formula']}, sGDML", "", f"{potential['solves']} full solutions", *_errors(potential)])
        numbers = [f"{1e6 * long[name]:.1e}" for name in ("drift_per_atom_and_ps", "fluctuation")]
        about = [f"{long['temperature']:.0f}", f"{long['picoseconds']:.0f}", str(long["crossings"])]
        kept.append([card["formula"], *about, *numbers])
        barriers += _barriers(card)
    forces = ["", "along", "windows", "frames", "forces, rms, Ha/bohr", "largest", "energy, rms, Ha", "largest"]
    forces += ["ms a step"]
    energies = ["long run", "temperature, K", "ps", "borders crossed", "drift, microHa/atom/ps", "fluctuation, microHa"]
    heights = ["", "at, degrees", "full, kcal/mol", "models, kcal/mol", "difference"]
    return [table(forces, errors), table(energies, kept), table(heights, barriers)]


def _errors(found: dict[str, Any]) -> list[str]:
    """Return the cells of errors on frames."""
    sizes = [f"{found[name]:.1e}" for name in ("force_rms", "force_largest", "energy_rms", "energy_largest")]
    return [str(found["frames"]), *sizes, f"{found['milliseconds_a_step']:.2f}"]


def _barriers(card: dict[str, Any]) -> list[list[str]]:
    """Return the maxima of the profile, its ends included, each a row."""
    profile, rows = card["profile"], []
    full, models = (HARTREE_IN_KCAL_PER_MOL * np.array(profile[name]) for name in ("full", "models"))
    padded = np.concatenate([[-np.inf], full, [-np.inf]])
    for k in np.flatnonzero((padded[1:-1] > padded[:-2]) & (padded[1:-1] > padded[2:])):
        name, angle = card["formula"], round(degrees(profile["values"][k]))
        rows.append([name, str(angle), f"{full[k]:.4f}", f"{models[k]:.4f}", f"{models[k] - full[k]:+.1e}"])
    return rows
