"""Where a run is written and what is kept beside its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Record:
    """Files of one run and what identifies it.

    Parameters
    ----------
    trajectory, checkpoint
        Files to write; ``checkpoint-previous.h5`` appears beside ``checkpoint.h5``.
    identity
        Physics that must not change when the run is continued (``solver``: ``"hifi"`` or ``"rom"``, ``model_hash``, grid,
        functional, ...), as text by name; kept in the trajectory too.
    provenance
        Further attributes of the trajectory (``input`` as JSON, ``versions``, ``host``, ``ranks``, ...).
    box_v
        Edge lengths of a periodic cell (3,), bohr; None for an isolated molecule.
    overwrite
        Start afresh even if there is a checkpoint.
    at_end
        Asked when the trajectory is closed: further attributes of it.
    verify
        Called before a checkpoint is written; raises DataFileError if the folder belongs to another run by now.
    """

    trajectory: Path
    checkpoint: Path
    identity: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str | int | float] = field(default_factory=dict)
    box_v: np.ndarray | None = None
    overwrite: bool = False
    at_end: Callable[[], Mapping[str, str | int | float]] = dict
    verify: Callable[[], None] = lambda: None
