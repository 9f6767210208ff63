"""The compiled potential energy surface, as molecular dynamics sees it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.errors import ConfigError, GeometryError, MpiqmdError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.rom.compiled import kernels
from mpiqmd.rom.compiled.chebyshev import ChebyshevBox
from mpiqmd.rom.compiled.energy import PlacedEnergy
from mpiqmd.rom.compiled.minima import Minima
from mpiqmd.rom.compiled.products import GROUP
from mpiqmd.rom.compiled.solver import CompiledSolver
from mpiqmd.rom.domain import SampledBox

OUTSIDE_TOLERANCE = 1e-9
"""Bohr outside a tabulated box that count as round-off."""

LARGEST_BATCH = 32
"""More geometries at once would gain nothing and leave the cache."""


class OutsideTablesError(GeometryError):
    """A geometry outside the boxes a compiled model was tabulated on."""


class CompiledForceProvider:
    """Aligns, minimises and carries forces back, without touching the grid.

    Every rank computes the same numbers from the same replicated data.

    Parameters
    ----------
    frame
        The body frame the modes belong to.
    solver
        The compiled solver.
    forces
        ``"gradient"`` (exact) or ``"hellmann-feynman"`` (body-frame forces turned back, as published).
    box
        The sampled region; None leaves ``outside`` unreported.
    labels
        What messages call the atoms; their numbers, counted from 1, by default.
    """

    def __init__(
        self,
        frame: BodyFrame,
        solver: CompiledSolver,
        forces: str = "gradient",
        box: SampledBox | None = None,
        labels: Sequence[str] = (),
    ) -> None:
        if forces not in ("gradient", "hellmann-feynman"):
            raise ConfigError(f"rom.forces = {forces!r}: allowed are 'gradient' and 'hellmann-feynman'. Use 'gradient'.")
        self.frame, self.solver, self.forces, self.box, self.labels = frame, solver, forces, box, labels
        self._latest: list[tuple[Minima, int] | None] = []

    def evaluate(self, positions_av: np.ndarray) -> Evaluation:
        """Return energy and forces at laboratory positions (N, 3), bohr.  Not collective.

        ``extras``: ``evaluations``, ``residual`` (estimated error of κ), ``dipole_x``, ``_y``, ``_z`` (atomic units), and
        ``outside`` (how far outside the sampled box, in half-widths).  Raises OutsideTablesError outside the tabulated
        boxes, which are never extrapolated.
        """
        (result,) = self._evaluate([positions_av], 1)
        if isinstance(result, MpiqmdError):
            raise result
        return result

    def evaluate_batch(self, positions_bav: np.ndarray) -> list[Evaluation | MpiqmdError]:
        """Return the same at several geometries (B, N, 3), with an error in the place of the geometry it concerns.

        Not collective.  Batches are filled up to a multiple of ``GROUP``, so that a geometry at one place of a group has the
        same numbers in any company, bit for bit.  By :meth:`evaluate`, alone, the last bits differ: a product of a matrix
        with a vector adds up in another order than one of two matrices.
        """
        results, latest = [], []
        for first in range(0, len(positions_bav), LARGEST_BATCH):
            results += self._evaluate(positions_bav[first : first + LARGEST_BATCH], GROUP)
            latest += self._latest
        self._latest = latest
        return results

    def _evaluate(self, positions_bav: np.ndarray, multiple: int) -> list[Evaluation | MpiqmdError]:
        """Return evaluations, or errors in their places, and note the minima."""
        results: list = [self._aligned(positions_av) for positions_av in positions_bav]
        self._latest = [None] * len(results)
        placed = self._placed(results, multiple)
        if placed is None:
            return results
        members = [b for b, result in enumerate(results) if isinstance(result, Alignment)]
        minima = self.solver.solve_batch(placed, len(members))
        evaluations = self._carried_back([results[b] for b in members], placed, minima)
        for row, (b, evaluation) in enumerate(zip(members, evaluations, strict=True)):
            results[b] = minima.failures.get(row, evaluation)
            self._latest[b] = None if row in minima.failures else (minima, row)
        return results

    def _aligned(self, positions_av: np.ndarray) -> Alignment | GeometryError:
        try:
            return self.frame.align(positions_av)
        except GeometryError as error:
            return error

    def _placed(self, results: list, multiple: int) -> PlacedEnergy | None:
        """Return the energy at what is aligned, filled up to a multiple; errors replace what is outside the tables."""
        while members := [b for b, result in enumerate(results) if isinstance(result, Alignment)]:
            bodies = [results[b].body_positions_av for b in members]
            bodies += bodies[:1] * (-len(bodies) % multiple)
            # polynomials may overflow far outside, which the excess tells
            with np.errstate(over="ignore", invalid="ignore"):
                placed = self.solver.energy.place_batch(np.array(bodies))
            excess = dict(zip(members, placed.excess.tolist(), strict=False))
            outside = [b for b in members if excess[b] > OUTSIDE_TOLERANCE]
            if not outside:
                return placed
            for b in outside:
                results[b] = outside_tables(results[b].body_positions_av, self.solver.energy.arrays.boxes, self.labels)
        return None

    def _carried_back(
        self, alignments: list[Alignment], placed: PlacedEnergy, minima: Minima
    ) -> list[Evaluation]:
        """Return energies, forces and extras in the laboratory; the batch may be longer than the list."""
        energy, d_bp = self.solver.energy, minima.coefficients_bp
        gradient_bav = energy.gradients_of(placed, minima.orbitals_bmn, minima.dual_bmn, d_bp)
        dipoles_bv = energy.dipole_of(placed.positions_av, d_bp)
        energies, counts, errors = (x.tolist() for x in (minima.energies_b, minima.evaluations_b, minima.errors_b))
        evaluations = []
        for b, alignment in enumerate(alignments):
            forces_av = self._forces(alignment, gradient_bav[b])
            x, y, z = alignment.laboratory_vector(dipoles_bv[b]).tolist()
            extras = {"evaluations": float(counts[b]), "residual": errors[b]}
            extras |= {"dipole_x": x, "dipole_y": y, "dipole_z": z}
            if self.box is not None:
                extras["outside"] = self.box.excess(alignment.body_positions_av)
            evaluations.append(Evaluation(energies[b], forces_av, extras))
        return evaluations

    def _forces(self, alignment: Alignment, gradient_av: np.ndarray) -> np.ndarray:
        """Return the forces in the laboratory."""
        if self.forces != "gradient":
            return alignment.rotated_forces(self._closed(gradient_av))
        conditions_kav, weights_a = alignment.condition_gradients_kav, alignment.origin_weights_a
        if conditions_kav is None or len(conditions_kav) != 3 or weights_a is None:
            return alignment.gradient_forces(gradient_av)
        forces_av, body_av = np.empty_like(gradient_av), alignment.body_positions_av
        way_back = alignment.rotation_vv, alignment.permutation_a
        kernels.gradient_forces(body_av, gradient_av, conditions_kav, weights_a, *way_back, forces_av)
        return forces_av

    def _closed(self, gradient_av: np.ndarray) -> np.ndarray:
        """Return the gradient with what pinned atoms, which have no tables, owe to a vanishing net force."""
        pinned = [a for a, box in enumerate(self.solver.energy.arrays.boxes) if not box.axes]
        if not pinned:
            return gradient_av
        closed_av = gradient_av.copy()
        closed_av[pinned] = 0.0
        closed_av[pinned] = -closed_av.sum(axis=0) / len(pinned)
        return closed_av

    @property
    def density_matrix_mm(self) -> np.ndarray | None:
        """P over the modes at the latest evaluation; None before the first and after an error."""
        return self.density_matrix(-1) if self._latest else None

    def density_matrix(self, b: int) -> np.ndarray | None:
        """Return P at one geometry of the latest batch; None in the place of an error."""
        if self._latest[b] is None:
            return None
        minima, row = self._latest[b]
        return minima.density_matrix(row)

    def state(self) -> dict[str, np.ndarray]:
        """Return nothing: an evaluation depends on the geometry alone.  Not collective."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back nothing.  Not collective."""


def outside_tables(
    body_positions_av: np.ndarray, boxes: list[ChebyshevBox], labels: Sequence[str] = ()
) -> OutsideTablesError:
    """Return the error that names the atom and the coordinate (body frame, bohr) farthest outside the tables."""
    lower_av, upper_av = np.array([box.lower_v for box in boxes]), np.array([box.upper_v for box in boxes])
    beyond_av = np.where(upper_av > lower_av, np.maximum(lower_av - body_positions_av, body_positions_av - upper_av), -np.inf)
    atom, axis = np.unravel_index(np.argmax(beyond_av), beyond_av.shape)
    return OutsideTablesError(
        f"atom {labels[atom] if labels else atom + 1} is {beyond_av[atom, axis]:.3f} bohr outside the box the compiled model "
        f"was tabulated on: {'xyz'[axis]} = {body_positions_av[atom, axis]:.3f} bohr in the body frame, tabulated are "
        f"{lower_av[atom, axis]:.3f} to {upper_av[atom, axis]:.3f}. Train on a wider range (train.deviations, "
        "train.bond_scales, train.angle_offsets), or let rom.on_large_error = 'warn' or 'hifi' solve such geometries in full."
    )
