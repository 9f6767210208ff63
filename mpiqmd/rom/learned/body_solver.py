"""The minima of a learned-grid model at geometries in a body frame, as a surface asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiqmd.errors import GeometryError, MpiqmdError
from mpiqmd.molecule.body_surface import BodySurface, Carry, Region, Solved, SurfaceFrame
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.molecule.surface import Memory
from mpiqmd.rom.learned import geometry_kernels
from mpiqmd.rom.learned.chebyshev import ChebyshevBox, corners
from mpiqmd.rom.learned.energy import Placed
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.solver import LearnedSolver
from mpiqmd.rom.training_span import TrainingSpan

OUTSIDE_TOLERANCE = 1e-9
"""Bohr outside a tabulated box that count as round-off."""
SMALLEST_BATCH, LARGEST_BATCH = 4, 32
"""Fewer geometries are quicker one after the other; more at once would gain nothing and leave the cache."""
GROUP = 8
"""Batches are filled up to a multiple of it: small products in NumPy with fewer rows add up in another order."""


class OutsideTablesError(GeometryError):
    """A geometry outside the boxes a grid-free model was tabulated on."""


class CompanyMemory(Memory):
    """Nothing but whether an owner is one of several, whose geometries are solved together."""

    def __init__(self, company: int) -> None:
        self.at_once = LARGEST_BATCH if company >= SMALLEST_BATCH else 1


@dataclass(eq=False, slots=True)
class LearnedSolved(Solved):
    """One of a batch of minima, a :class:`~mpiqmd.rom.solved.ReducedAnswer` without a Kohn-Sham problem."""

    subspaces: LatentSubspaces
    latent_d: np.ndarray

    problem = None

    @property
    def density_matrix_mm(self) -> np.ndarray:
        """P over the modes, shape (modes, modes), dimensionless."""
        (orbitals_nk,), _ = self.subspaces.orthonormal(self.latent_d[None])
        return self.subspaces.density_matrix(orbitals_nk)


class LearnedBodySolver:
    """Minimises the energy of a learned-grid model; every rank computes the same from the same replicated data.

    A geometry at one place of a group has the same numbers in any company, bit for bit; alone, the last bits differ.

    Parameters
    ----------
    solver
        The solver.
    labels
        What messages call the atoms; their numbers, counted from 1, by default.
    span
        What geometries may not leave either; by default the coordinates that are not tabulated.
    """

    def __init__(self, solver: LearnedSolver, labels: Sequence[str] = (), span: TrainingSpan | None = None) -> None:
        self.solver, self.labels = solver, labels
        boxes = solver.energy.arrays.boxes
        self.span = span or TrainingSpan.of_coordinates(*corners(boxes))
        pinned = [a for a, box in enumerate(boxes) if not box.axes]
        self.ways_back: dict[str, Carry] = {
            "gradient": _gradient_forces,
            "hellmann-feynman": lambda alignment, gradient_av: alignment.rotated_forces(_closed(gradient_av, pinned)),
        }

    def fresh(self, company: int = 1) -> CompanyMemory:
        """Return the memory of a new owner, one of ``company``.  Not collective."""
        return CompanyMemory(company)

    def solve(
        self, alignments: Sequence[Alignment | MpiqmdError], memories: Sequence[CompanyMemory]
    ) -> list[LearnedSolved | MpiqmdError]:
        """Return the minima, found together, or errors in their places: the tables are never extrapolated.  Not collective.

        ``extras``: ``evaluations``, and ``residual``, what one more step would gain, Ha.
        """
        results: dict[int, LearnedSolved | MpiqmdError] = {}
        bodies: dict[int, np.ndarray] = {}
        for b, each in enumerate(alignments):
            if isinstance(each, MpiqmdError):
                results[b] = each
            elif (off_av := self.span.off(each.body_positions_av)) is not None:
                results[b] = off_the_span(off_av, self.labels)
            else:
                bodies[b] = each.body_positions_av
        while bodies:
            placed = self._placed(list(bodies.values()), GROUP if memories[0].at_once > 1 else 1)
            outside = [b for b, excess in zip(bodies, placed.excess_b.tolist(), strict=False) if excess > OUTSIDE_TOLERANCE]
            if not outside:
                results |= zip(bodies, self._solved(placed, len(bodies)), strict=True)
                break
            for b in outside:
                results[b] = outside_tables(bodies.pop(b), self.solver.energy.arrays.boxes, self.labels)
        return [results[b] for b in range(len(alignments))]

    def _placed(self, bodies: list[np.ndarray], multiple: int) -> Placed:
        """Return the energy at geometries, filled up to a multiple."""
        bodies += bodies[:1] * (-len(bodies) % multiple)
        return self.solver.energy.place_batch(np.array(bodies))

    def _solved(self, placed: Placed, count: int) -> list[LearnedSolved | MpiqmdError]:
        """Return what is found at the first ``count`` geometries of a batch."""
        subspaces, minima = self.solver.energy.arrays.subspaces, self.solver.solve_batch(placed, count)
        return [
            minima.failures[b]
            if b in minima.failures
            else LearnedSolved(
                float(minima.energies_b[b]),
                minima.gradient_bav[b],
                minima.dipoles_bv[b],
                {"evaluations": float(minima.evaluations_b[b]), "residual": float(minima.gaps_b[b])},
                subspaces,
                minima.latent_bd[b, : len(subspaces)],
            )
            for b in range(count)
        ]


def learned_surface(
    frame: SurfaceFrame, electrons: LearnedBodySolver, forces: str = "gradient", region: Region | None = None
) -> BodySurface[CompanyMemory, LearnedSolved]:
    """Return the grid-free surface.  Not collective.  Raises ConfigError if there are no such forces."""
    return BodySurface(frame, electrons, forces, region, ways_back=electrons.ways_back)


def _gradient_forces(alignment: Alignment, gradient_av: np.ndarray) -> np.ndarray:
    """Return ``alignment.gradient_forces``, by the kernel where that has a form for it."""
    conditions_kav, weights_a = alignment.condition_gradients_kav, alignment.origin_weights_a
    if conditions_kav is None or weights_a is None:
        return alignment.gradient_forces(gradient_av)
    back, body_av = (alignment.rotation_vv, alignment.permutation_a), alignment.body_positions_av
    return geometry_kernels.gradient_forces(body_av, gradient_av, conditions_kav, weights_a, back, alignment.no_turn_v)


def _closed(gradient_av: np.ndarray, pinned: list[int]) -> np.ndarray:
    """Return the gradient with what pinned atoms, which have no tables, owe to a vanishing net force."""
    if not pinned:
        return gradient_av
    closed_av = gradient_av.copy()
    closed_av[pinned] = 0.0
    closed_av[pinned] = -closed_av.sum(axis=0) / len(pinned)
    return closed_av


def outside_tables(body_positions_av: np.ndarray, boxes: list[ChebyshevBox], labels: Sequence[str] = ()) -> OutsideTablesError:
    """Return the error that names the atom and the coordinate (body frame, bohr) farthest outside the tables."""
    lower_av, upper_av = corners(boxes)
    beyond_av = np.where(upper_av > lower_av, np.maximum(lower_av - body_positions_av, body_positions_av - upper_av), -np.inf)
    atom, axis = np.unravel_index(np.argmax(beyond_av), beyond_av.shape)
    return OutsideTablesError(
        f"atom {labels[atom] if labels else atom + 1} is {beyond_av[atom, axis]:.3f} bohr outside the box that the model "
        f"was tabulated on: {'xyz'[axis]} = {body_positions_av[atom, axis]:.3f} bohr in the body frame, tabulated are "
        f"{lower_av[atom, axis]:.3f} to {upper_av[atom, axis]:.3f}. Train on a wider range (train.deviations, "
        "train.bond_scales, train.angle_offsets), or let rom.on_large_error = 'warn' solve such geometries on the grid, or "
        "'hifi' in full."
    )


def off_the_span(off_av: np.ndarray, labels: Sequence[str] = ()) -> OutsideTablesError:
    """Return the error that names the atom and the coordinate farthest off what training geometries span, (N, 3), bohr."""
    atom, axis = np.unravel_index(np.argmax(np.abs(off_av)), off_av.shape)
    return OutsideTablesError(
        f"atom {labels[atom] if labels else atom + 1} is {abs(off_av[atom, axis]):.2g} bohr along {'xyz'[axis]} (body frame) "
        "off where all training geometries have it: none differs in that direction, and there are no tables for it. Train on "
        "geometries that do, or let rom.on_large_error = 'warn' solve such geometries on the grid, or 'hifi' in full."
    )
