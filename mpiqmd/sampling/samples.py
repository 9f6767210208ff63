"""A set of geometries of one molecule, each with the parameters it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mpiqmd.errors import GeometryError


@dataclass(frozen=True, eq=False)
class Samples:
    """Geometries to solve. Not collective; replicated.

    Parameters
    ----------
    positions_sav
        Positions of each sample in the body frame, shape (n_samples, N, 3), bohr.
    labels
        Parameters of each sample by name, in atomic units and radian; empty dictionaries if not given.
    name
        How the samples were chosen, for results and model files.

    Raises
    ------
    GeometryError
        The shape is wrong, a coordinate is not finite, or labels and samples differ in number.
    """

    positions_sav: np.ndarray
    labels: list[dict[str, float]] = field(default_factory=list)
    name: str = "samples"

    def __post_init__(self) -> None:
        positions_sav = np.array(self.positions_sav, dtype=float)
        if positions_sav.ndim != 3 or positions_sav.shape[2] != 3 or not np.isfinite(positions_sav).all():
            raise GeometryError(
                f"samples {self.name!r} have shape {positions_sav.shape} with "
                f"{np.count_nonzero(~np.isfinite(positions_sav))} values that are not finite; finite "
                "positions of shape (samples, atoms, 3) are needed. Check what made the samples."
            )
        labels = list(self.labels) or [{} for _ in positions_sav]
        if len(labels) != len(positions_sav):
            raise GeometryError(
                f"samples {self.name!r} have {len(labels)} labels for {len(positions_sav)} geometries; one "
                "each is needed. Check what made the samples."
            )
        positions_sav.flags.writeable = False
        object.__setattr__(self, "positions_sav", positions_sav)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.positions_sav)

    def chosen(self, indices: Sequence[int]) -> Samples:
        """Return some of the samples, in this order."""
        return Samples(self.positions_sav[list(indices)], [self.labels[index] for index in indices], self.name)

    def joined(self, other: Samples, name: str | None = None) -> Samples:
        """Return these samples followed by those of ``other`` that are not among them (to 1e-9 bohr)."""
        if self.positions_sav.shape[1:] != other.positions_sav.shape[1:]:
            raise GeometryError(
                f"samples {self.name!r} have {self.positions_sav.shape[1]} atoms and {other.name!r} "
                f"{other.positions_sav.shape[1]}; only samples of the same molecule can be joined. Check "
                "both sets."
            )
        differences_ss = np.abs(other.positions_sav[:, None] - self.positions_sav[None]).max(axis=(2, 3))
        new_s = np.flatnonzero((differences_ss > 1e-9).all(axis=1))
        return Samples(
            np.concatenate([self.positions_sav, other.positions_sav[new_s]]),
            self.labels + [other.labels[sample] for sample in new_s],
            name or f"{self.name}+{other.name}",
        )
