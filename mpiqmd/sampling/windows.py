r"""Windows along a coordinate of large amplitude, a smooth partition of unity over them, and which are images of others.

Window w reaches from its centre :math:`\varphi_w` as far as h to both sides, and neighbours overlap by o.  With the distance
:math:`d_w = \varphi - \varphi_w` its weight is

.. math:: p_w(\varphi) = s\big((h - |d_w|) / o\big), \qquad s(t) = t^4 (35 - 84 t + 70 t^2 - 20 t^3),

s cut off at 0 and 1: three times differentiable, and since :math:`s(t) + s(1 - t) = 1` the weights of all windows sum to 1
where centres are :math:`2h - o` apart.  Where the coordinate has no period, the first and the last window share nothing
outwards, and have no end there: how far their models go is for these to say.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import copysign, lcm
from typing import Any, NamedTuple

import numpy as np

from mpiqmd.errors import DataFileError, GeometryError
from mpiqmd.molecule.frame import EckartFrame
from mpiqmd.molecule.large_amplitude import LargeAmplitude, coordinate_of, difference
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.relabelling import Relabelling, relabellings
from mpiqmd.molecule.torsion import Torsion

OVERLAP = 1.0 / 3.0
"""Of two neighbours, in distances between their centres."""
SAME_PLACE = 0.5
"""Distance (bohr) up to which an atom of a window's reference is where it is in the image of another's."""
TRIED, SHAKEN = 4, 0.1
"""Geometries at which an operation is tried, and how far (bohr) atoms are displaced in them."""
ROUND_OFF = 1e-9
MOST_WINDOWS = 1000
WINDOW_NOTE = "window"
"""Name, among the notes of a model, of the windows and of the one that it is for."""


class Share(NamedTuple):
    """A window's part in the energy: its number, its weight, and the derivative of that by the coordinate."""

    window: int
    weight: float
    slope: float


class Place(NamedTuple):
    """Where a geometry is: the value of the coordinate, in its unit, and the windows that have a part in it."""

    value: float
    shares: list[Share]


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows along a coordinate.  Not collective; replicated.

    Attributes
    ----------
    coordinate
        What they are laid along.
    centres_w
        Values of the coordinate in their middle, shape (windows,), in its unit.
    half_width, overlap
        How far each reaches from its centre, and how far two neighbours have in common.
    models_w
        The window whose model each uses, its own or that of one it is an image of.
    operations_w
        What brings a geometry of each window into the window of that model.
    """

    coordinate: LargeAmplitude
    centres_w: np.ndarray
    half_width: float
    overlap: float
    models_w: tuple[int, ...]
    operations_w: tuple[Relabelling, ...]

    def __len__(self) -> int:
        return len(self.centres_w)

    @cached_property
    def _centres(self) -> list[float]:
        centres: list[float] = self.centres_w.tolist()
        return centres

    @property
    def distinct(self) -> list[int]:
        """The windows that have a model of their own."""
        return sorted(set(self.models_w))

    @property
    def words(self) -> str:
        """How many there are, in words."""
        apart = self.coordinate.shown(2.0 * self.half_width - self.overlap)
        return f"{len(self)} windows of {self.coordinate.article}, {apart} apart, {len(self.distinct)} of them distinct"

    def beyond(self, window: int, positions_av: np.ndarray) -> float:
        """Return how far positions (N, 3), bohr, are beyond a window's end, negative inside, in the coordinate's unit.

        Raises GeometryError where it has no value.
        """
        offset = self.offset(window, positions_av)
        return -np.inf if self._is_outward(window, offset) else abs(offset) - self.half_width

    def offset(self, window: int, positions_av: np.ndarray) -> float:
        """Return how far positions (N, 3), bohr, are from a window's centre, signed.  Raises GeometryError."""
        return difference(self.coordinate, self.coordinate.value(positions_av), float(self.centres_w[window]))

    def place(self, positions_av: np.ndarray) -> Place:
        """Return the value of the coordinate at positions (N, 3), bohr, and the parts of all windows that have one there.

        Raises GeometryError where the coordinate has no value.
        """
        value, found = self.coordinate.value(positions_av), []
        for window, centre in enumerate(self._centres):
            offset = difference(self.coordinate, value, centre)
            weight, slope = self._weight(window, offset)
            if weight > 0.0:
                found.append(Share(window, weight, slope))
        return Place(value, found)

    def _weight(self, window: int, offset: float) -> tuple[float, float]:
        """Return a window's weight so far from its centre, and its derivative."""
        if self._is_outward(window, offset):
            return 1.0, 0.0
        if abs(offset) > self.half_width:
            return 0.0, 0.0
        weight, slope = smooth_step((self.half_width - abs(offset)) / self.overlap)
        return weight, -copysign(slope, offset) / self.overlap

    def _is_outward(self, window: int, offset: float) -> bool:
        """Whether there is no other window in this direction from a window's centre."""
        outward = {0: -1.0, len(self) - 1: 1.0}.get(window, 0.0) if self.coordinate.period is None else 0.0
        return offset * outward > 0.0

    def described(self) -> dict[str, Any]:
        """Return plain data from which :meth:`of` makes them again."""
        return {
            "coordinate": self.coordinate.described(),
            "centres": self.centres_w.tolist(),
            "half_width": self.half_width,
            "overlap": self.overlap,
            "models": list(self.models_w),
            "permutations": [list(each.permutation) for each in self.operations_w],
            "mirrored": [each.mirrored for each in self.operations_w],
        }

    @classmethod
    def of(cls, described: dict[str, Any]) -> Windows:
        """Return what :meth:`described` describes.  Raises DataFileError if it describes nothing of the kind."""
        try:
            coordinate, centres_w = coordinate_of(described["coordinate"]), np.array(described["centres"], float)
            models_w = tuple(described["models"])
            operations_w = tuple(
                Relabelling(tuple(permutation), mirrored)
                for permutation, mirrored in zip(described["permutations"], described["mirrored"], strict=True)
            )
            half_width, overlap = float(described["half_width"]), float(described["overlap"])
            found = cls(coordinate, centres_w, half_width, overlap, models_w, operations_w)
            found._check()
        except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
            raise DataFileError(f"windows are described by what they cannot be ({error}). Train again.") from error
        return found

    def _check(self) -> None:
        """Raise ValueError unless weights sum to one, and models and operations are there."""
        count, apart = len(self), 2.0 * self.half_width - self.overlap
        if self.centres_w.ndim != 1 or not 1 < count <= MOST_WINDOWS or not 0.0 < self.overlap <= self.half_width < np.inf:
            raise ValueError(f"{count} windows of half-width {self.half_width} that overlap by {self.overlap}")
        around = self.coordinate.period
        if not np.allclose(np.diff(self.centres_w), apart) or (around is not None and not np.isclose(count * apart, around)):
            raise ValueError("centres that are not as far apart as the widths of the windows say")
        fit = all(type(model) is int and 0 <= model < count for model in self.models_w)
        if len(self.models_w) != count or not fit or any(self.models_w[model] != model for model in self.models_w):
            raise ValueError("models that are not there")
        n_atoms = len(self.operations_w[0].permutation)
        for operation in self.operations_w:
            whole = [atom for atom in operation.permutation if type(atom) is int]
            if sorted(whole) != list(range(n_atoms)) or type(operation.mirrored) is not bool:
                raise ValueError("operations that are no permutations of the atoms")
        if len(self.operations_w) != count or not self.coordinate.atoms <= set(range(n_atoms)):
            raise ValueError("operations or a coordinate of other atoms")


def smooth_step(t: float) -> tuple[float, float]:
    """Return s(t) of the module and its derivative."""
    if not 0.0 < t < 1.0:
        return float(t >= 1.0), 0.0
    return t**4 * (35.0 - 84.0 * t + 70.0 * t**2 - 20.0 * t**3), 140.0 * (t * (1.0 - t)) ** 3


def lay_windows(coordinate: LargeAmplitude, molecule: Molecule, centres_w: np.ndarray) -> Windows:
    """Return windows with their centres at these values, shape (windows,), all equally far apart.  Not collective."""
    apart = float(centres_w[1] - centres_w[0])
    models_w, operations_w = zip(*_images(coordinate, molecule, centres_w), strict=True)
    half_width = 0.5 * (1.0 + OVERLAP) * apart
    return Windows(coordinate, centres_w, half_width, OVERLAP * apart, models_w, operations_w)


def all_around(torsion: Torsion, spacing: float) -> np.ndarray:
    """Return the centres of windows all around a torsion, about ``spacing`` (radian) apart, shape (windows,), radian.

    Not collective.  There are as many as equal atoms at both ends need to be exchanged with whole windows; one is centred
    where the torsion is zero, so that a mirror image is in a window, too.
    """
    step = 2 * lcm(*torsion.folds)
    count = step * max(1, round(torsion.period / spacing / step))
    return torsion.period / count * np.arange(count)


def from_side_to_side(value: float, spacing: float) -> np.ndarray:
    """Return the centres of windows from ``-value`` to ``value``, about ``spacing`` apart, shape (windows,), in their unit.

    Not collective.  One is centred at zero.
    """
    count = max(1, round(value / spacing))
    return value / count * np.arange(-count, count + 1)


def _images(coordinate: LargeAmplitude, molecule: Molecule, centres_w: np.ndarray) -> list[tuple[int, Relabelling]]:
    """Return for each window the first one that an operation brings it to, itself if there is none, and the operation."""
    references = [coordinate.moved(molecule.positions_av, float(centre)) for centre in centres_w]
    known = actions(coordinate, molecule)
    found = []
    for here, reference_av in enumerate(references):
        reached: list[tuple[int, float, int, Relabelling]] = []
        for operation, sign, shift in known:
            apart = [abs(difference(coordinate, sign * centres_w[here] + shift, centre)) for centre in centres_w]
            there = int(np.argmin(apart))
            if apart[there] >= ROUND_OFF:
                continue
            off = _farthest(operation.image(reference_av), references[there], molecule)
            if off < SAME_PLACE:
                # of operations that fit as well the first, which is the identity
                reached.append((there, round(off, 2), len(reached), operation))
        model, *_, operation = min(reached, key=lambda each: each[:3])
        found.append((model, operation))
    return found


def actions(coordinate: LargeAmplitude, molecule: Molecule) -> list[tuple[Relabelling, float, float]]:
    """Return the operations that make a value ``sign * value + shift`` everywhere, with both, the identity first."""
    rng = np.random.default_rng(0)
    shape = TRIED, *molecule.positions_av.shape
    tried_sav = molecule.positions_av + SHAKEN * rng.uniform(-1.0, 1.0, size=shape)
    before_s = [coordinate.value(positions_av) for positions_av in tried_sav]
    found = []
    for operation in relabellings(molecule):
        with suppress(GeometryError):
            after_s = [coordinate.value(operation.image(positions_av)) for positions_av in tried_sav]
            for sign in (1.0, -1.0):
                shift = difference(coordinate, after_s[0], sign * before_s[0])
                off = [
                    difference(coordinate, there, sign * here + shift) for there, here in zip(after_s, before_s, strict=True)
                ]
                if np.abs(off).max() < ROUND_OFF:
                    found.append((operation, sign, shift))
    return found


def _farthest(positions_av: np.ndarray, others_av: np.ndarray, molecule: Molecule) -> float:
    """Return how far an atom of one geometry is from where it is in another, bohr, when one lies upon the other."""
    other = molecule.with_positions(others_av)
    with suppress(GeometryError):
        upon_av = EckartFrame(other).align(positions_av).body_positions_av
        return float(np.linalg.norm(upon_av - (others_av - other.centre_of_mass_v), axis=1).max())
    return np.inf


def spread(count: int, half_width: float) -> np.ndarray:
    """Return ``count`` offsets from a window's centre that fill it in any order, dense at its ends, shape (count,).

    The first is the centre; the golden ratio fills the rest (H. Niederreiter, Bull. Am. Math. Soc. 84, 957 (1978)), and the
    sine makes its ends dense, as interpolation wants it.  In the unit of the width.
    """
    shares = (0.5 + np.arange(count) * (np.sqrt(5.0) - 1.0) / 2.0) % 1.0
    return half_width * np.sin(np.pi * (shares - 0.5))
