"""Vibrations as files that viewers open: a Molden file of all modes, and an animation of each in extended XYZ."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpiqmd.datafiles import replacing
from mpiqmd.molecule.vibrations import Vibrations
from mpiqmd.units import BOHR_IN_ANGSTROM, HARTREE_IN_INVERSE_CM

MOLDEN_FILE, ANIMATION_FILE = "modes.molden", "modes.extxyz"
FRAMES = 16
"""Frames of one oscillation."""
SWING = 0.4
"""Largest displacement of an atom in the animation, bohr."""


def write_modes(folder: Path, found: Vibrations, intensities: np.ndarray | None) -> None:
    """Write ``modes.molden`` and ``modes.extxyz`` into a folder.  Not collective.

    Raises DataFileError if the disk is full or the folder cannot be written to.
    """
    with replacing(folder / MOLDEN_FILE) as beside:
        beside.write_text(molden(found, intensities), encoding="utf-8")
    with replacing(folder / ANIMATION_FILE) as beside:
        beside.write_text(animation(found), encoding="utf-8")


def molden(found: Vibrations, intensities: np.ndarray | None) -> str:
    """Return a Molden file: wave numbers (1/cm; imaginary ones negative), intensities (km/mol), positions and mode vectors.

    Lengths are in bohr, as the format has them.  Not collective.
    """
    wave_numbers_k, molecule = HARTREE_IN_INVERSE_CM * found.frequencies_k, found.molecule
    lines = ["[Molden Format]", "[FREQ]", *(f"{value:12.4f}" for value in wave_numbers_k)]
    if intensities is not None:
        lines += ["[INT]", *(f"{value:12.4f}" for value in intensities)]
    lines.append("[FR-COORD]")
    lines += [symbol + _row(r_v) for symbol, r_v in zip(molecule.symbols, molecule.positions_av, strict=True)]
    lines.append("[FR-NORM-COORD]")
    for k, directions_av in enumerate(found.directions_kav, start=1):
        lines += [f"vibration {k}", *map(_row, directions_av)]
    return "\n".join(lines) + "\n"


def animation(found: Vibrations) -> str:
    """Return extended XYZ (angstrom): one oscillation of each mode after the other, with the mode's vectors. Not collective."""
    lines, molecule = [], found.molecule
    for k, directions_av in enumerate(found.directions_kav):
        swing = SWING / np.linalg.norm(directions_av, axis=1).max()
        wave_number = HARTREE_IN_INVERSE_CM * found.frequencies_k[k]
        for frame in range(FRAMES):
            moved_av = molecule.positions_av + swing * np.sin(2.0 * np.pi * frame / FRAMES) * directions_av
            lines += [
                str(len(molecule)),
                f'Properties=species:S:1:pos:R:3:mode_vector:R:3 mode={k + 1} wave_number={wave_number:.4f} pbc="F F F"',
            ]
            rows = zip(molecule.symbols, moved_av * BOHR_IN_ANGSTROM, directions_av, strict=True)
            lines += [symbol + _row(position_v) + _row(direction_v) for symbol, position_v, direction_v in rows]
    return "\n".join(lines) + "\n" * bool(lines)


def _row(vector_v: np.ndarray) -> str:
    return "".join(f" {value:14.8f}" for value in vector_v)
