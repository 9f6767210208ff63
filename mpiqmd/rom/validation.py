"""How good a reduced model is: errors on its own training geometries and on unseen ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.errors import GeometryError
from mpiqmd.kohnsham.ground_state import ElectronicSolver
from mpiqmd.molecule.bent import bent_coordinates, water_positions
from mpiqmd.molecule.frame import BisectorFrame, BodyFrame
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.rom.model_summary import error_table
from mpiqmd.rom.online import OnlineStage
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.rom.verdict import verdict

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log

Errors = dict[str, Any]


def reproduction(stage: OnlineStage, store: SnapshotStore, frame: BodyFrame) -> Errors:
    """Return the largest errors on the training geometries themselves, on the grid.  Collective.

    ``energy`` and ``lowest`` (the most negative; round-off, as the reduced energy is an upper bound) in Ha, ``force``
    along the internal coordinates, ``component`` over body-frame components at fixed modes, both Ha/bohr.
    """
    energies, forces, components = [], [], []
    for positions_av, energy, forces_av in zip(store.positions_sav, store.energies_s, store.forces_sav, strict=True):
        state = stage.ground_state(positions_av)
        energies.append(state.free_energy - energy)
        forces.append(internal_force_error(frame, positions_av, state.gradient_av, -forces_av))
        components.append(float(np.abs(state.forces_av - forces_av).max()))
    return {
        "energy": float(np.max(np.abs(energies))),
        "lowest": float(np.min(energies)),
        "force": max(forces),
        "component": max(components),
    }


def validate(stage: OnlineStage, solver: ElectronicSolver, unseen_sav: np.ndarray, frame: BodyFrame, log: Log) -> Errors:
    """Compare with the full solver on unseen geometries in the body frame, shape (samples, N, 3), bohr.  Collective.

    Returns ``geometries`` (one dictionary each) and the largest ``energy``, ``force`` and ``error_estimate`` of the reduced
    energy on the grid, and ``compiled_energy`` and ``compiled_force`` of the compiled model, None where there is none.
    """
    rows: list[Errors] = []
    countdown = Countdown(log, len(unseen_sav), "unseen geometry")
    for positions_av in unseen_sav:
        exact = solver.solve(stage.model.place(positions_av))
        reduced = stage.ground_state(positions_av)
        row = {
            "positions": positions_av,
            "energy": exact.free_energy,
            "energy_error": reduced.free_energy - exact.free_energy,
            "force_error": internal_force_error(frame, positions_av, reduced.gradient_av, exact.gradient_av),
            "component_error": float(np.abs(reduced.forces_av - exact.forces_av).max()),
            "error_estimate": stage.error_estimate(positions_av, reduced),
        }
        rows.append(row | _compiled_errors(stage, frame, positions_av, exact.free_energy, exact.gradient_av))
        countdown.advance(
            f"energy error {row['energy_error']:.1e} Ha (estimated {row['error_estimate']:.1e}), "
            f"force error {row['force_error']:.1e} Ha/bohr"
        )
    names = {
        "energy": "energy_error",
        "force": "force_error",
        "error_estimate": "error_estimate",
        "compiled_energy": "compiled_energy_error",
        "compiled_force": "compiled_force_error",
    }
    return {"geometries": rows} | {name: _largest(rows, column) for name, column in names.items()}


def _compiled_errors(
    stage: OnlineStage, frame: BodyFrame, positions_av: np.ndarray, energy: float, gradient_av: np.ndarray
) -> Errors:
    """Return the errors of the compiled model at one geometry; None where it is not tabulated, nothing without one."""
    try:
        compiled = stage.evaluate_compiled(positions_av)
    except GeometryError:
        return {"compiled_energy_error": None, "compiled_force_error": None}
    if compiled is None:
        return {}
    return {
        "compiled_energy_error": compiled.energy - energy,
        "compiled_force_error": internal_force_error(frame, positions_av, -compiled.forces_av, gradient_av),
    }


def _largest(rows: list[Errors], name: str) -> float | None:
    return max((abs(row[name]) for row in rows if row.get(name) is not None), default=None)


def summary(errors: Errors) -> Errors:
    """Return the errors without the single geometries, small enough to be kept in the model file.  Not collective."""
    validation = {name: value for name, value in errors["validation"].items() if name != "geometries"}
    validation["count"] = len(errors["validation"]["geometries"])
    return {"reproduction": errors["reproduction"], "validation": validation}


def errors_to_keep(before: Any, found: Errors, tolerance: float, online: str) -> Errors:
    """Return which summary a model file keeps: that of earlier errors, unless it is none or of fewer unseen geometries.

    ``tolerance`` (Ha) and ``online`` are those of the :func:`~mpiqmd.rom.verdict.verdict`.  Not collective.
    """
    if verdict(before, tolerance, online) is None or _unseen(before) < _unseen(found):
        return found
    return before


def _unseen(errors: Errors) -> int:
    return int(errors["validation"].get("count", 0))


def print_errors(errors: Errors, log: Log) -> None:
    """Print a short table of the errors.  Not collective."""
    for line in error_table(summary(errors)):
        log(line)


def internal_force_error(frame: BodyFrame, positions_av: np.ndarray, one_av: np.ndarray, two_av: np.ndarray) -> float:
    """Return the largest difference of two body-frame gradients along the internal coordinates, Ha/bohr (or per radian).

    The exact gradient through the body frame of both energies is compared: for a bent molecule along L1, L2 and theta,
    otherwise per component of the rigid-motion-free forces.  Not collective.
    """
    alignment = frame.align(positions_av)
    difference = alignment.gradient_forces(one_av) - alignment.gradient_forces(two_av)
    if not isinstance(frame, BisectorFrame):
        return float(np.abs(difference).max())
    point, errors, step = np.array(bent_coordinates(positions_av, frame.vertex)), [], 1e-5
    for shift in step * np.eye(3):
        after_av, before_av = (_bent(point + sign * shift, frame.vertex) for sign in (1.0, -1.0))
        errors.append(abs(float(np.sum(difference * (after_av - before_av) / (2.0 * step)))))
    return max(errors)


def _bent(point: np.ndarray, vertex: int) -> np.ndarray:
    length_1, length_2, angle = point
    return water_positions(length_1, length_2, angle, vertex)
