"""Trajectories made from formulas, for tests of figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mpiqmd.md.quantities import OBSERVABLES
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.units import KELVIN_IN_HARTREE

FRAMES = 60


def water_like(solver, shift=0.0, symbols=("O", "H", "H")):
    """Bonds 1.8 + 0.05 sin, angle 104 + 5 sin degrees, energies known functions; ``shift`` moves them all."""
    times_t = 40.0 * np.arange(FRAMES)
    phase_t = times_t / 300.0
    half_t = np.radians(104.0 + shift + 5 * np.sin(phase_t)) / 2
    length_t = 1.8 + shift + 0.05 * np.sin(phase_t)
    positions_tav = np.zeros((FRAMES, 3, 3))
    for atom, sign in ((1, 1), (2, -1)):
        positions_tav[:, atom, 0] = length_t * np.cos(half_t)
        positions_tav[:, atom, 1] = sign * length_t * np.sin(half_t)
    kinetic_t = 2e-3 + 1e-3 * np.cos(phase_t) + shift
    observables = {
        "potential_energy": -17.0 - kinetic_t,
        "kinetic_energy": kinetic_t,
        "total_energy": -17.0 + shift + 0 * times_t,
        "conserved_energy": -17.0 + 1e-6 * phase_t,
        "temperature": 300 * KELVIN_IN_HARTREE + 0 * times_t,
        "iterations": np.full(FRAMES, 7.0),
    }
    masses_a, zeros_tav = np.array([29156.0, 1837.0, 1837.0]), np.zeros_like(positions_tav)
    attributes = {"solver": solver, "timestep": 40.0}
    return Trajectory(
        Path(f"{solver}/trajectory.h5"), symbols, masses_a, np.arange(FRAMES), times_t, positions_tav,
        zeros_tav, zeros_tav, observables, attributes, None,
    )  # fmt: skip


def peroxide(step=20.0, frames=400, shift=0.0) -> Trajectory:
    """H2O2 whose torsion swings from 140 to 220 degrees, across the jump of its definition, on a reduced model."""
    times_t = step * np.arange(frames)
    torsion_t = np.radians(180.0 + 40.0 * np.sin(0.002 * times_t + 0.3) + shift)
    long_t = 1.85 + 0.03 * np.cos(0.0166 * times_t)
    positions_tav = np.zeros((frames, 4, 3))
    positions_tav[:, 0, 2], positions_tav[:, 1, 2] = -1.4, 1.4 + 0.01 * np.cos(0.004 * times_t)
    sine, cosine = np.sin(np.radians(100.0)), np.cos(np.radians(100.0))
    positions_tav[:, 2] = np.array([long_t * sine, 0 * times_t, -1.4 - long_t * cosine]).T
    far_t = [1.85 * sine * np.cos(torsion_t), 1.85 * sine * np.sin(torsion_t), positions_tav[:, 1, 2] + 1.85 * cosine]
    positions_tav[:, 3] = np.array(far_t).T
    observables = {name: 1e-3 + 1e-4 * np.cos(0.01 * times_t) for name in OBSERVABLES}
    observables |= {"training_distance": 0.0 * times_t, "hifi": 0.0 * times_t, "error_age": np.arange(frames) % 25.0}
    observables |= {"dipole_x": 0.02 * np.cos(0.0166 * times_t), "dipole_y": 0 * times_t, "dipole_z": 0.5 + 0 * times_t}
    run = {"xc": {"functional": "PBE"}, "md": {"temperature": 300 * KELVIN_IN_HARTREE}}
    attributes = {"solver": "rom", "timestep": step, "thermostat": "csvr", "input": json.dumps(run)}
    attributes |= {"model_hash": "0123456789abcdef", "rom.online": "learned"}
    nothing_tav = np.zeros_like(positions_tav)
    return Trajectory(
        Path("rom/trajectory.h5"), ("O", "O", "H", "H"), np.array([29156.0, 29156.0, 1837.0, 1837.0]), np.arange(frames),
        times_t, positions_tav, nothing_tav, nothing_tav, observables, attributes, None,
    )  # fmt: skip


def title(figure: Figure) -> str:
    """The title over a figure."""
    return figure._suptitle.get_text()
