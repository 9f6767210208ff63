"""What a reduced surface does about a large error: the choices of ``rom.on_large_error``.

warn    say so and go on; solve in full outside the tables, where there is no reduced energy; stop where the estimate is
        beyond a hundred times the tolerance
stop    end the run, outside the tables too
hifi    solve that geometry in full
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from mpiqmd.errors import ConfigError

HOPELESS = 100.0
"""A warning does not suffice for an estimate that is so many times the tolerance."""


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
    solves_unknown
        Whether one without a reduced energy is: outside the tables, or where the reduced minimum is not found.
    """

    name: str
    stops_beyond: float
    solves_large: bool
    solves_unknown: bool


WARN = Reaction("warn", HOPELESS, solves_large=False, solves_unknown=True)
STOP = Reaction("stop", 1.0, solves_large=False, solves_unknown=False)
SOLVE_IN_FULL = Reaction("hifi", inf, solves_large=True, solves_unknown=True)
REACTIONS = {reaction.name: reaction for reaction in (WARN, STOP, SOLVE_IN_FULL)}


@dataclass(frozen=True)
class Limits:
    """When errors are estimated, which of them are large, and what follows.

    Attributes
    ----------
    check_every
        Evaluations between estimates; 0 for none.
    tolerance
        Estimated energy error that is large, Ha.
    reaction
        What follows.
    """

    check_every: int
    tolerance: float
    reaction: Reaction

    @classmethod
    def named(cls, check_every: int, tolerance: float, on_large_error: str) -> Limits:
        """Return limits with the reaction of a name.  Raises ConfigError if there is none."""
        if on_large_error not in REACTIONS:
            raise ConfigError(
                f"rom.on_large_error = {on_large_error!r}: allowed are {', '.join(map(repr, REACTIONS))}. Use 'warn'."
            )
        return cls(check_every, tolerance, REACTIONS[on_large_error])
