"""The seam between nuclei and electrons: positions in, energy and forces out.

Both surfaces (Hi-Fi and ROM) are seen by the dynamics through :class:`ForceProvider` only.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mpiqmd.molecule.evaluation import Evaluation

__all__ = ["Evaluation", "ForceProvider"]


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
