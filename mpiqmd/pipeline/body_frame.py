"""Any surface evaluated in the molecule's body frame."""

from __future__ import annotations

import numpy as np

from mpiqmd.md.provider import ForceProvider
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule


class BodyFrameProvider:
    """Another surface evaluated in the molecule's body frame: ``E(R) = E'(x(R))`` with its exact gradient.

    The frame takes out the grid's dependence on the molecule's orientation.
    """

    def __init__(self, provider: ForceProvider, molecule: Molecule) -> None:
        self.provider = provider
        self.frame = make_frame(molecule)

    def evaluate(self, positions_av: np.ndarray) -> Evaluation:
        """Return energy and forces in the laboratory frame.  Collective."""
        alignment = self.frame.align(positions_av)
        inner = self.provider.evaluate(alignment.body_positions_av)
        extras = dict(inner.extras)
        if all(name in extras for name in DIPOLE):
            laboratory_v = alignment.laboratory_vector(np.array([extras[name] for name in DIPOLE]))
            extras |= dict(zip(DIPOLE, laboratory_v.tolist(), strict=True))
        return Evaluation(inner.energy, alignment.gradient_forces(-inner.forces_av), extras)

    def state(self) -> dict[str, np.ndarray]:
        """Return what the inner surface needs to restart.  Collective."""
        return self.provider.state()

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Hand the state back to the inner surface.  Collective."""
        self.provider.restore(state)
