"""The second derivatives of the energy at one geometry as a file: found once, and read by the jobs of an array."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpiqmd.datafiles import Shapes, reading, replacing
from mpiqmd.regular import read_text
from mpiqmd.statics.journal_file import LARGEST_JOURNAL, require_same_surface


@dataclass(frozen=True, eq=False)
class HessianAt:
    """Positions (N, 3), bohr, and the second derivatives of the energy there, shape (3 N, 3 N), Ha/bohr^2."""

    positions_av: np.ndarray
    hessian_cc: np.ndarray


def save_hessian(path: Path, found: HessianAt, identity: dict[str, str]) -> None:
    """Write a Hessian with the identity of its surface, whole or not at all.  Not collective.  Raises DataFileError."""
    contents = {"positions": found.positions_av.tolist(), "hessian": found.hessian_cc.tolist(), "identity": identity}
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as stream:
        json.dump(contents, stream, indent=2, allow_nan=False)
        stream.write("\n")


def load_hessian(path: Path, identity: dict[str, str]) -> HessianAt | None:
    """Return the Hessian of a file of this identity; None if there is no file.  Not collective.

    Raises DataFileError if it cannot be read or belongs to another surface.
    """
    if not path.exists():
        return None
    remedy = "One written by `mpiqmd train` is needed. Remove it to compute them again."
    with reading(path, "file of vibrations", remedy):
        found, shapes = json.loads(read_text(path, LARGEST_JOURNAL)), Shapes()
        positions_av = shapes.numbers("positions", found["positions"], "a 3")
        coordinates = str(positions_av.size)
        hessian_cc = shapes.numbers("hessian", found["hessian"], f"{coordinates} {coordinates}")
        require_same_surface(path, found["identity"], identity)
    return HessianAt(positions_av, hessian_cc)
