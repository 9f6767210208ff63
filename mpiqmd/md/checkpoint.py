"""Checkpoints of a run: written beside, flushed to disk, renamed; two generations; read on rank 0 only.

A kill at any moment leaves at least one complete file: the new one gets its name only after its bytes are on
disk, and the one before is kept as ``checkpoint-previous.h5``.  Reading falls back to it when the newer one
is missing or damaged.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from mpiqmd.datafiles import opened, plain, sealed, swapping, to_disk
from mpiqmd.datasets import CHECKPOINT_DATASETS, annotate
from mpiqmd.errors import DataFileError

Attribute = str | int | float
Groups = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Checkpoint:
    """What one checkpoint file holds.

    Parameters
    ----------
    attributes
        ``step`` and other scalars and strings.
    groups
        Arrays by group (``dynamics``, ``thermostat``, ``provider``) and name.
    path
        The file it came from.
    """

    attributes: dict[str, Attribute]
    groups: Groups
    path: Path


def previous_path(path: Path) -> Path:
    """Return the name of the older generation: ``checkpoint.h5`` gives ``checkpoint-previous.h5``."""
    return path.with_name(f"{path.stem}-previous{path.suffix}")


def save_checkpoint(path: Path, attributes: Mapping[str, Attribute], groups: Mapping[str, Mapping]) -> None:
    """Write a checkpoint atomically and keep the one before.  Not collective; rank 0."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for key, value in attributes.items():
            file.attrs[key] = value
        for name, arrays in groups.items():
            group = file.create_group(name)
            for key, array in arrays.items():
                group.create_dataset(key, data=array)
        annotate(file, CHECKPOINT_DATASETS)
    with swapping(path) as beside:
        beside.write_bytes(sealed(content.getvalue()))
        to_disk(beside)
        if path.exists():
            os.replace(path, previous_path(path))
    # The renames themselves, so that no crash undoes them.
    to_disk(path.parent)


def load_checkpoint(path: Path) -> tuple[Checkpoint | None, str]:
    """Return the newest usable generation and a sentence about anything unusual.  Not collective; rank 0.

    Returns
    -------
    ``(None, "")`` where no checkpoint exists.

    Raises
    ------
    DataFileError
        Files exist, but none of them is usable.
    """
    problems = []
    for candidate in (path, previous_path(path)):
        if not candidate.exists():
            continue
        try:
            checkpoint = _read(candidate)
        except DataFileError as error:
            problems.append(str(error))
            continue
        return checkpoint, f"{problems[0]}; using {candidate.name} instead" if problems else ""
    if problems:
        raise DataFileError(
            f"no usable checkpoint: {'; '.join(problems)}. Restarting needs one complete file: "
            "restore it from a copy, or start afresh with --overwrite."
        )
    return None, ""


def _read(path: Path) -> Checkpoint:
    """Read one file, whose checksum is verified before HDF5 sees it."""
    remedy = "A checkpoint written by `mpiqmd md` of this version is needed"
    with opened(path, "checkpoint", remedy, must_be_sealed=True) as contents:
        attributes = {key: plain(value) for key, value in contents.file.attrs.items()}
        groups = {name: contents.arrays(name) for name in contents.file}
    return Checkpoint(attributes, groups, path)
