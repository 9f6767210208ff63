"""The seam between nuclei and electrons: positions in, energy and forces out.

Both surfaces (Hi-Fi and ROM) are seen by the dynamics through :class:`ForceProvider` only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Evaluation:
    """What a provider says about one geometry; identical on every rank.

    Parameters
    ----------
    energy
        Potential energy of the nuclei, Ha (the electronic free energy where electrons are warm).
    forces_av
        Minus the gradient of the energy, shape (N, 3), Ha/bohr.
    extras
        Numbers worth keeping beside each frame (``iterations``, ``error_estimate``, ...), atomic units.
    """

    energy: float
    forces_av: np.ndarray
    extras: dict[str, float] = field(default_factory=dict)


class ForceProvider(Protocol):
    """A potential energy surface, possibly with a memory (extrapolated orbitals or density matrices)."""

    def evaluate(self, positions_av: np.ndarray) -> Evaluation:
        """Return energy and forces at ``positions_av`` (N, 3), bohr.  Collective; same result everywhere."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Return the memory that an exact restart needs, replicated; may be empty.  Collective."""
        ...

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned, on every rank.  Collective."""
        ...
