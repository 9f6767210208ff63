"""What a reduced surface does about a large error: the choices of ``rom.on_large_error``.

An estimate is large where it is above the tolerance, in energy or in force.  Where there is no grid-free energy, outside the
tables of a grid-free model or where its minimum is not found, the reduced energy is minimised on the grid instead.

warn-stop   say so and go on; end the run where an estimate is beyond a hundred times the tolerance
warn        say so and go on, whatever the estimate
stop        end the run, also where there is no grid-free energy
hifi        solve that geometry in full
learn       solve it in full, and let the model grow by such geometries (:mod:`~mpiqmd.rom.learning`)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from mpiqmd.errors import ConfigError
from mpiqmd.rom.options import RomOptions
from mpiqmd.rom.verdict import LARGEST_PER_RMS

FORCE_PER_RMS = 2.0 * LARGEST_PER_RMS
"""Estimated error of an atom's force that is tolerated by default, in rms errors of force components that training asks for.

A good model has components up to ``LARGEST_PER_RMS`` times as wrong; an estimate is of all three of an atom, and too large
where errors are small: on water, models of 24 to 31 modes that are just good enough have estimates up to that, and one of 20
that is not has up to five times that.
"""
NEAR, FARTHER = 0.25, 1.1
"""Training distance up to which nothing is far, and times a distance that was found good beyond which something is."""
HOPELESS = 100.0
"""A warning does not suffice by default for an estimate that is so many times the tolerance."""


@dataclass(frozen=True)
class Reaction:
    """One choice.

    Attributes
    ----------
    name
        What the input calls it.
    stops_beyond
        Multiple of the tolerance beyond which an estimate ends the run.
    solves_large
        Whether a geometry with a large estimate is solved in full.
    goes_on_unknown
        Whether one without a grid-free energy is solved in another way.
    looks_far
        Whether errors are estimated, too, where a geometry is farther from the training than all that were found good.
    """

    name: str
    stops_beyond: float
    solves_large: bool
    goes_on_unknown: bool
    looks_far: bool = False

    def is_far(self, distance: float, good_to: float) -> bool:
        """Return whether to look at a geometry for its distance to the training, given to what distance errors were small."""
        return self.looks_far and distance > max(NEAR, FARTHER * good_to)

    @property
    def then(self) -> str:
        """What follows a large error that does not end the run, in words."""
        return "solving in full" if self.solves_large else "going on"


WARN_STOP = Reaction("warn-stop", HOPELESS, solves_large=False, goes_on_unknown=True)
WARN = Reaction("warn", inf, solves_large=False, goes_on_unknown=True)
STOP = Reaction("stop", 1.0, solves_large=False, goes_on_unknown=False)
SOLVE_IN_FULL = Reaction("hifi", inf, solves_large=True, goes_on_unknown=True)
LEARN = Reaction("learn", inf, solves_large=True, goes_on_unknown=True, looks_far=True)
REACTIONS = {reaction.name: reaction for reaction in (WARN_STOP, WARN, STOP, SOLVE_IN_FULL, LEARN)}


@dataclass(frozen=True)
class Tolerance:
    """Estimated errors above which a geometry counts as badly described.

    Attributes
    ----------
    energy, force
        Ha, and Ha/bohr for the largest force error of an atom.
    """

    energy: float
    force: float

    @classmethod
    def of(cls, energy: float | None, force: float | None = None) -> Tolerance:
        """Return tolerances; what has none is not looked at."""
        return cls(inf if energy is None else energy, inf if force is None else force)

    def excess(self, energy: float, force: float) -> float:
        """Return the larger of two estimates, each in units of what is tolerated."""
        return max(energy / self.energy, force / self.force)


@dataclass(frozen=True)
class Limits:
    """When errors are estimated, which of them are large, and what follows.

    Attributes
    ----------
    check_every
        Evaluations between estimates; 0 for none.
    tolerance
        Estimated errors above it are large.
    reaction
        What follows.
    """

    check_every: int
    tolerance: Tolerance
    reaction: Reaction

    @classmethod
    def of(cls, options: RomOptions) -> Limits:
        """Return those that options ask for.  Raises ConfigError if they name no reaction."""
        tolerance = Tolerance.of(options.error_tolerance, options.force_tolerance)
        return cls.named(options.check_every, tolerance, options.on_large_error)

    @classmethod
    def named(cls, check_every: int, tolerance: Tolerance, on_large_error: str) -> Limits:
        """Return limits with the reaction of a name.  Raises ConfigError if there is none."""
        if on_large_error not in REACTIONS:
            raise ConfigError(
                f"rom.on_large_error = {on_large_error!r}: allowed are {', '.join(map(repr, REACTIONS))}. Use 'warn-stop'."
            )
        return cls(check_every, tolerance, REACTIONS[on_large_error])
