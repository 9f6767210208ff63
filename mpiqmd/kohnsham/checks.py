"""Whether the cell and the grid of a ground state are good enough for its molecule, and what to say where they are not.

The program cannot know what a user needs, but it knows where walls or spacing are worth a millihartree or 5 mHa/bohr, also
where the symmetry of the molecule hides it from the net force.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import KohnShamModel, Problem
from mpiqmd.kohnsham.walls import TOLERATED, Walls, examine_walls
from mpiqmd.molecule.hardness import CARRIED, PseudoAtom
from mpiqmd.parallel.log import Log

COARSE = 5e-3
"""Net force on a free molecule (Ha/bohr) beyond which the grid or the cell is not good enough; a good one has a tenth."""
OCCUPIED = 0.01
"""Occupation from which a level counts as occupied."""
LATER = 2.0
"""How much more of the walls is tolerated in the course of a motion than at its start."""


@dataclass(frozen=True, eq=False)
class Checks:
    """What is known of the quality of one ground state.  Replicated.

    Attributes
    ----------
    walls
        What the walls do; None in a periodic cell.
    wall_distance, nearest_atom
        Distance of the nearest atom to a wall (bohr) and its label; None in a periodic cell.
    highest_level
        Highest occupied level, Ha.
    bound
        Whether it lies below zero, or need not: in an anion, in a periodic cell.
    net_force_v
        Sum of the forces on the nuclei as the grid gives them, shape (3,), Ha/bohr; None without forces.
    spacing, needed_spacings
        The grid's, and for each element the largest one that does, bohr.
    tolerated
        By how much the walls may raise the energy before it is worth a warning, Ha.
    """

    walls: Walls | None
    wall_distance: float | None
    nearest_atom: str | None
    highest_level: float
    bound: bool
    net_force_v: np.ndarray | None
    spacing: float
    needed_spacings: dict[str, float]
    tolerated: float = TOLERATED

    @property
    def too_coarse(self) -> dict[str, float]:
        """The elements that need a smaller spacing than the grid's, and the one that they need, bohr."""
        return {symbol: needed for symbol, needed in self.needed_spacings.items() if self.spacing > needed}

    def describe(self) -> dict[str, Any]:
        """Return the numbers as plain data: Ha, bohr."""
        found: dict[str, Any] = {
            "highest_occupied": self.highest_level,
            "bound": self.bound,
            "spacing": self.spacing,
            "needed_spacings": self.needed_spacings,
        }
        if self.walls is not None:
            found |= {
                "wall_distance": self.wall_distance,
                "wall_density": self.walls.density,
                "wall_energy_error": self.walls.energy_error,
                "sufficient_cell": self.walls.sufficient_cell_v,
            }
        return found | {"warnings": list(self.warnings().values())}

    def warnings(self) -> dict[str, str]:
        """Return what to tell the user, a line for each kind of fault: ``unbound``, ``walls``, ``spacing``, ``net force``."""
        found = {
            "unbound": self._unbound(),
            "walls": self._near_walls(),
            "spacing": self._coarse(),
            "net force": self._net_force(),
        }
        return {kind: f"warning: {text}" for kind, text in found.items() if text}

    def _unbound(self) -> str | None:
        if self.bound:
            return None
        return (
            f"the highest occupied level is at {self.highest_level:+.4f} Ha, above zero: nothing but the walls of the cell "
            f"holds these electrons. A bound molecule has occupied levels below zero only. Use {self._larger_cell()}, and "
            "check system.charge and the geometry."
        )

    def _near_walls(self) -> str | None:
        if self.walls is None or self.walls.energy_error <= self.tolerated:
            return None
        return (
            f"the cell is too small: its walls raise the energy by about {1e3 * self.walls.energy_error:.1f} mHa (at most "
            f"{1e3 * self.tolerated:.2g} are tolerated; {self.walls.density:.1e} electrons per bohr^3 next to a wall, atom "
            f"{self.nearest_atom} {self.wall_distance:.2f} bohr from one). Use {self._larger_cell()}."
        )

    def _larger_cell(self) -> str:
        assert self.walls is not None, "a periodic cell has no walls"
        edges = ", ".join(f"{edge:g}" for edge in self.walls.sufficient_cell_v)
        return f"grid.cell = [{edges}] bohr or larger with the molecule in its middle"

    def _coarse(self) -> str | None:
        if not self.too_coarse:
            return None
        needs = ", ".join(f"{symbol} needs {needed:.3f}" for symbol, needed in self.too_coarse.items())
        return (
            f"the grid is too coarse for its elements: {self.spacing:.3f} bohr between points, {needs} or less with this "
            "grid.density and pseudopotential. Use a smaller grid.spacing (or grid.density = 'finer'); `mpiqmd check egg-box` "
            "measures what it does to energy and forces."
        )

    def _net_force(self) -> str | None:
        if self.net_force_v is None or np.linalg.norm(self.net_force_v) <= COARSE:
            return None
        walls_v = np.zeros(3) if self.walls is None else self.walls.net_force_v
        by_walls, by_grid = (float(np.linalg.norm(force_v)) for force_v in (walls_v, self.net_force_v - walls_v))
        net = float(np.linalg.norm(self.net_force_v))
        told = f"there is a net force of {1e3 * net:.1f} mHa/bohr, of which a free molecule has none: "
        if by_walls >= by_grid:
            return told + f"the walls of the cell push with {1e3 * by_walls:.1f} mHa/bohr. Use {self._larger_cell()}."
        also = f" (and the walls push with {1e3 * by_walls:.1f} mHa/bohr)" if by_walls > COARSE else ""
        return told + (
            f"{self.spacing:.3f} bohr between points is too coarse for these atoms{also}. Use a smaller grid.spacing; "
            "`mpiqmd check egg-box` measures what it does to the energy."
        )


class GroundStateWatch:
    """Looks at ground states and says each kind of fault once.  Construction is not collective.

    Attributes
    ----------
    has_looked
        Whether there was one to look at.
    said
        What was said, by kind.
    lasting
        Kinds of faults beyond what is tolerated in the course of a motion, whichever geometry was looked at first.
    """

    def __init__(self, model: KohnShamModel, log: Log) -> None:
        self.model, self.log = model, log
        self.needed_spacings = needed_spacings(model)
        self.said: dict[str, str] = {}
        self.lasting: set[str] = set()
        self.has_looked = False
        self.tolerated = TOLERATED

    def look(self, problem: Problem, state: GroundState) -> Checks:
        """Return the checks of a ground state, after saying what has not been said before.  Collective."""
        checks, self.has_looked = examine(problem, state, self.needed_spacings, self.tolerated), True
        self.tolerated = LATER * TOLERATED
        self.tell(checks.warnings(), set(replace(checks, tolerated=self.tolerated).warnings()))
        return checks

    def tell(self, warnings: dict[str, str], lasting: set[str]) -> None:
        """Say warnings of kinds that have not been said before; keep what kinds are lasting.  Not collective."""
        self.lasting |= lasting
        for kind, text in warnings.items():
            if kind not in self.said:
                self.said[kind] = text
                self.log(text)


def needed_spacings(model: KohnShamModel) -> dict[str, float]:
    """Return the largest spacing that does (bohr) for each element of a model.  Not collective."""
    carried = CARRIED if model.refinement is None else 1.0
    return {symbol: PseudoAtom(pseudo).needed_spacing(carried) for symbol, pseudo in model.pseudopotentials.items()}


def examine(problem: Problem, state: GroundState, needed: dict[str, float], tolerated: float = TOLERATED) -> Checks:
    """Return the checks of a ground state of a full solver.  Collective."""
    grid = problem.grid
    highest = float(state.eigenvalues_n[state.occupations_n > OCCUPIED].max())
    walls, distance, atom = None, None, None
    if not grid.is_periodic:
        walls = examine_walls(state.electrons)
        distances_a = (0.5 * grid.cell_v - np.abs(problem.positions_av)).min(axis=1)
        nearest = int(np.argmin(distances_a))
        distance, atom = float(distances_a[nearest]), problem.molecule.labels[nearest]
    return Checks(
        walls=walls,
        wall_distance=distance,
        nearest_atom=atom,
        highest_level=highest,
        bound=grid.is_periodic or problem.molecule.charge < 0 or highest < 0.0,
        net_force_v=None if state.gradient_av is None else state.forces_av.sum(axis=0),
        spacing=float(grid.spacing_v.max()),
        needed_spacings=needed,
        tolerated=tolerated,
    )
