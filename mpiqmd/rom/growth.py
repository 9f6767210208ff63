"""A reduced model that grows by geometries which have been solved in full, from its file alone.

The new orbitals join the modes (:mod:`~mpiqmd.rom.grown_basis`), and the grid-free form is learned anew from old and new
geometries.  What was found of the old model's errors does not hold for the new one, and is left out of its notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.parallel.log import Log
from mpiqmd.rom.full_solutions import FullSolution
from mpiqmd.rom.grown_basis import grown_basis
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.offline import make_reduced_model
from mpiqmd.rom.options import RomOptions
from mpiqmd.rom.verdict import GROWN, without_errors
from mpiqmd.sampling.rules.rule import Body


@dataclass(frozen=True, eq=False)
class _Geometries:
    """Body-frame positions (S, N, 3), bohr, free energies (S,), Ha, and forces (S, N, 3), Ha/bohr."""

    positions_sav: np.ndarray
    energies_s: np.ndarray
    forces_sav: np.ndarray


def joined_geometries(reduced: ReducedModel, solved: Sequence[FullSolution]) -> _Geometries:
    """Return those of a model's training and the new ones, in this order.  Not collective."""
    return _Geometries(
        np.concatenate([reduced.training_positions_sav, [each.positions_av for each in solved]]),
        np.concatenate([reduced.training_energies_s, [each.energy for each in solved]]),
        np.concatenate([reduced.training_forces_sav, [each.forces_av for each in solved]]),
    )


def grown_model(
    model: KohnShamModel,
    reduced: ReducedModel,
    solved: Sequence[FullSolution],
    options: RomOptions,
    log: Log,
    provenance: dict[str, Any],
) -> ReducedModel:
    """Return the model with these solutions among its training, grid-free if the options ask for it.  Collective.

    Parameters
    ----------
    model, reduced
        The physics, and the model of it that grows.
    solved
        Full solutions in its body frame, one at least.
    options, log
        Whether it shall be grid-free and how finely, and where progress goes.
    provenance
        Where the new geometries come from, kept in the notes as ``grown``.
    """
    count = require_as_many_orbitals(reduced, len(solved[0].orbitals))
    reference = Molecule(model.molecule.symbols, reduced.reference_av, model.molecule.charge, reduced.masses_a)
    body = Body(reference, make_frame(reference, reduced.frame), list(reduced.symmetries))
    new = [each.orbitals.select(slice(0, count)) for each in solved]
    grown = grown_basis(reduced.basis, reduced.symmetries, reduced.training_orbitals_smn, new)
    log(f"{grown.basis.rank} modes, {grown.basis.rank - reduced.rank} of them new, from {len(solved)} new geometries")
    geometries, modes = joined_geometries(reduced, solved), [reduced.rank, grown.basis.rank]
    made = make_reduced_model(model, body, grown.basis, geometries, grown.orbitals_smn, options=options, log=log)
    return replace(made, notes=without_errors(reduced.notes) | {GROWN: provenance | {"modes": modes}})


def require_as_many_orbitals(reduced: ReducedModel, available: int) -> int:
    """Return how many orbitals the model keeps of a geometry.  Raises ConfigError if full solutions have fewer."""
    count = reduced.training_orbitals_smn.shape[2]
    if available < count:
        raise ConfigError(
            f"{reduced.source} was trained on {count} orbitals of each geometry, full solutions of this input have "
            f"{available}. A model grows by as many or more: set scf.empty_orbitals as it was in training."
        )
    return count
