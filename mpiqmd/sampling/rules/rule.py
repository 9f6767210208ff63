"""What a sampling rule is: the choice of training geometries, as a dataclass whose fields are keys of the [train] section.

A rule says where the molecule lies when it is trained, and then gives geometries in the body frame of that reference.  What it
cannot know itself, files and the Hi-Fi surface, it asks of :class:`Sources`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from mpiqmd.keys.kinds import POSITIVE_COUNT
from mpiqmd.keys.registries import SAMPLING_RULES
from mpiqmd.keys.registry import Entry
from mpiqmd.keys.spec import UNSET, KeySpec, Options, key_specs
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.sampling.normal_modes import NormalModes
from mpiqmd.sampling.samples import Samples
from mpiqmd.sampling.windows import Windows

COUNT = KeySpec(
    POSITIVE_COUNT,
    UNSET,
    "number of geometries, of greedy at most; if not given 40 plus 4 per atom, or more where symmetry operations are few",
)
"""The key ``count`` of rules that have one."""
FEWEST, PER_ATOM, PER_COORDINATE = 40, 4, 40
"""How many geometries a molecule is trained on, at least, more for each atom, and with all their images for each coordinate.

With 17 to 20 for each coordinate the forces of most geometries of HCOOH and CH3OH are right, and those of one in ten, far out,
are wrong by a hundred times as much.  With 43 C2H4 is off by 4.2e-5 Ha/bohr (rms, 400 K), with 67 by 7.3e-6; CH2O has 37,
NH3 56, and CH4, with its 24 operations, 160.
"""


@dataclass(frozen=True, eq=False)
class Body:
    """The molecule in the body frame that it is trained in.  Not collective; replicated.

    Attributes
    ----------
    reference, frame, symmetries
        The molecule there, the frame, and the symmetry operations under which snapshots are closed.
    """

    reference: Molecule
    frame: BodyFrame
    symmetries: list[Symmetry]

    def aligned(self, positions_sav: np.ndarray) -> np.ndarray:
        """Return positions (samples, N, 3), bohr, in the body frame."""
        return np.array([self.frame.align(positions_av).body_positions_av for positions_av in positions_sav])


class Sources(Protocol):
    """What a rule may ask for besides its keys."""

    def oriented(self) -> Molecule:
        """Return the input's molecule in the body frame, as symmetric as it nearly is.  Not collective."""
        ...

    def geometries(self, path: Path) -> np.ndarray:
        """Return the positions (frames, N, 3), bohr, of a file of geometries of the molecule.  Collective."""
        ...

    def vibrations(self, relaxed: bool) -> NormalModes:
        """Return the Hi-Fi vibrations of the oriented molecule, ``relaxed`` to its minimum first.  Collective."""
        ...

    @property
    def sides(self) -> Sequence[Hashable]:
        """What tells the sides of the cell apart."""
        ...

    def relaxed_at(self, windows: Windows, window: int, start: Molecule) -> Molecule:
        """Return a molecule relaxed from a start in the middle of a window, found once.  Collective."""
        ...

    def say(self, line: str) -> None:
        """Write a line to the log.  Not collective."""
        ...


class DeclaredRule(ABC):
    """What the input may name in ``train.sampling``; the fields of the dataclass that it is are its keys."""

    name: ClassVar[str]

    def problems(self) -> list[str]:
        """Return the problems between the keys, each a line for the user.  Not collective."""
        return []


class SamplingRule(DeclaredRule):
    """Chooses training geometries of one model."""

    def reference(self, sources: Sources) -> Molecule:
        """Return the molecule in the body frame of the training.  Collective."""
        return sources.oriented()

    @abstractmethod
    def samples(self, sources: Sources, body: Body) -> Samples:
        """Return the geometries to solve, or to choose from, in the body frame.  Collective.

        Raises ConfigError where the rule does not fit the molecule.
        """

    def unseen(self, sources: Sources, body: Body, samples: Samples, count: int, rng: np.random.Generator) -> np.ndarray | None:
        """Return random geometries of the sampled kind, shape (at most count, N, 3), bohr; None for mixtures of samples.

        Collective.
        """
        return None

    def notes(self) -> dict[str, Any]:
        """Return what a model has to remember of how its geometries were chosen, as plain data.  Not collective."""
        return {}


class CandidateRule(SamplingRule):
    """A rule whose samples are candidates: again and again the one with the largest estimated error is solved.

    Attributes
    ----------
    target
        Largest estimated energy error of a candidate at which to stop, Ha.
    """

    target: float

    @abstractmethod
    def most(self, body: Body) -> int:
        """Return how many geometries are solved at most.  Not collective."""


class WindowedRule(DeclaredRule):
    """Lays windows along a coordinate of large amplitude; each has a model of its own, trained by a rule of its own."""

    @abstractmethod
    def lay(self, sources: Sources) -> Windows:
        """Return the windows.  Collective.  Raises ConfigError where the molecule has no such coordinate."""

    @abstractmethod
    def in_window(self, windows: Windows, window: int) -> SamplingRule:
        """Return what chooses the geometries of one of them.  Not collective."""


Rule = TypeVar("Rule", bound=type[DeclaredRule])


def sampling_rule(name: str, summary: str) -> Callable[[Rule], Rule]:
    """Return a decorator that registers a rule: the input may choose it from then on.  Not collective.

    What is decorated is a dataclass with keyword arguments only; its fields made by :func:`mpiqmd.keys.spec.key` are keys of
    the [train] section.

    Parameters
    ----------
    name, summary
        Its value of ``train.sampling``, and what it does in a few words, for the help.
    """

    def register(rule: Rule) -> Rule:
        rule.name, keys = name, key_specs(rule)

        def check(train: Options) -> list[str]:
            return rule(**{key: getattr(train, key) for key in keys}).problems()

        SAMPLING_RULES.register(Entry(name=name, summary=summary, make=rule, keys=keys, check=check))
        return rule

    return register


def count_for(count: int | None, body: Body) -> int:
    """Return how many geometries a molecule is trained on, if not said otherwise.  Not collective."""
    return usual_count(len(body.reference), body.frame.n_coordinates, len(body.symmetries)) if count is None else count


def usual_count(n_atoms: int, n_coordinates: int, n_operations: int) -> int:
    """Return on how many geometries to train a molecule with symmetry operations, the identity left out.  Not collective."""
    return max(FEWEST + PER_ATOM * n_atoms, ceil(PER_COORDINATE * n_coordinates / (1 + n_operations)))
