"""Errors of the grid-free model: against the same modes on the grid, against Hi-Fi, and their decay with the modes."""

from __future__ import annotations

import numpy as np

from mpiqmd.molecule.bent import bent_coordinates, water_positions
from mpiqmd.molecule.frame import BisectorFrame, BodyFrame
from mpiqmd.plots.style import save_figure, style
from mpiqmd.rom.online import OnlineStage
from mpiqmd.units import ATOMIC_TIME_IN_FS
from run.bench.drawing import decay_figure
from run.bench.reduced.common import Bench, nve, owner_of


def against_grid(surface: OnlineStage, positions_sav: np.ndarray, log=None) -> dict[str, float]:
    """Return the largest difference of energy and forces between the grid-free and the grid online stage."""
    owner = owner_of(surface)
    energies, forces = [], []
    for index, positions_av in enumerate(positions_sav, start=1):
        found, on_grid = owner.at(positions_av), surface.ground_state(positions_av)
        alignment = surface.frame.align(positions_av)
        energies.append(found.energy - on_grid.free_energy)
        forces.append(np.abs(found.forces_av - alignment.gradient_forces(on_grid.gradient_av)).max())
        if log is not None:
            log.progress(f"grid-free against grid {index}/{len(positions_sav)}", last=index == len(positions_sav))
    return {"geometries": len(energies), "energy": float(np.abs(energies).max()), "force": float(max(forces))}


def against_hifi(surface: OnlineStage, positions_sav: np.ndarray, states: list) -> dict[str, float]:
    """Return the largest errors of energy and of the gradient along the internal coordinates."""
    owner = owner_of(surface)
    energies, forces = [], []
    for positions_av, exact in zip(positions_sav, states, strict=True):
        found = owner.at(positions_av)
        energies.append(found.energy - exact.free_energy)
        forces.append(internal_force_error(surface.frame, positions_av, -found.forces_av, exact.gradient_av))
    return {
        "geometries": len(energies),
        "energy": float(np.abs(energies).max()),
        "energy_spread": float(np.std(energies)),
        "force": float(max(forces)),
        "force_median": float(np.median(forces)),
    }


def internal_force_error(frame: BodyFrame, positions_av: np.ndarray, one_av: np.ndarray, two_av: np.ndarray) -> float:
    """Return the largest difference of two body-frame gradients along the internal coordinates, Ha/bohr (or per radian).

    The exact gradient through the body frame of both energies is compared: for a bent molecule along L1, L2 and theta,
    otherwise per component of the rigid-motion-free forces.
    """
    alignment = frame.align(positions_av)
    difference = alignment.gradient_forces(one_av) - alignment.gradient_forces(two_av)
    if not isinstance(frame, BisectorFrame):
        return float(np.abs(difference).max())
    point, errors, step = np.array(bent_coordinates(positions_av, frame.vertex)), [], 1e-5
    for shift in step * np.eye(3):
        after_av, before_av = (water_positions(*(point + sign * shift), vertex=frame.vertex) for sign in (1.0, -1.0))
        errors.append(abs(float(np.sum(difference * (after_av - before_av) / (2.0 * step)))))
    return max(errors)


def accuracy(bench: Bench) -> dict[str, dict[str, float]]:
    """Grid-free against the grid stage and against Hi-Fi on random geometries of the sampled box."""
    positions_sav = bench.geometries(bench.arguments.geometries)
    some = positions_sav[: bench.arguments.hifi_geometries]
    return {
        "grid": against_grid(bench.surface, positions_sav, bench.log),
        "hifi": against_hifi(bench.surface, some, bench.exact(some)),
    }


def decay(bench: Bench) -> dict[str, dict[str, dict[str, float]]]:
    """The same errors for bases of several sizes made from the model's snapshots, on fewer geometries."""
    positions_sav = bench.geometries(bench.arguments.decay_geometries)
    states, record = bench.exact(positions_sav), {}
    for rank in bench.arguments.ranks:
        surface = bench.surface_of(rank)
        record[str(rank)] = {
            "grid": against_grid(surface, positions_sav),
            "hifi": against_hifi(surface, positions_sav, states),
        }
        bench.log(f"{rank} modes: {record[str(rank)]}")
    with style():
        save_figure(decay_figure(record), bench.arguments.output / "error-decay")
    return record


def frames(bench: Bench) -> dict[str, float]:
    """Errors on frames of a 300 K trajectory of the model itself."""
    timestep = 0.5 / ATOMIC_TIME_IN_FS
    every = 100
    _, kept = nve(
        bench.owner(), bench.reduced.reference_av, bench.molecule.masses_a, timestep, every * bench.arguments.frames, every
    )
    positions_sav = np.array([bench.surface.frame.align(positions_av).body_positions_av for positions_av in kept])
    states = bench.exact(positions_sav)
    owner, components = bench.owner(), []
    for positions_av, exact in zip(positions_sav, states, strict=True):
        alignment = bench.surface.frame.align(positions_av)
        difference = owner.at(positions_av).forces_av - alignment.gradient_forces(exact.gradient_av)
        components.append(np.abs(difference).max())
    worst = {"component": float(max(components)), "component_median": float(np.median(components))}
    return against_hifi(bench.surface, positions_sav, states) | worst


def gradient(bench: Bench) -> dict[str, float]:
    """Forces in the laboratory against central differences of the reduced energy, fourth order."""
    owner, errors, step = bench.owner(), [], 2e-3
    for positions_av in bench.geometries(20):
        forces_av = owner.at(positions_av).forces_av
        for a, v in np.ndindex(forces_av.shape):

            def energy(t, positions_av=positions_av, a=a, v=v):
                moved = positions_av.copy()
                moved[a, v] += t
                return owner.at(moved).energy

            slope = (8.0 * (energy(step) - energy(-step)) - (energy(2 * step) - energy(-2 * step))) / (12.0 * step)
            errors.append(abs(slope + forces_av[a, v]))
    return {"components": len(errors), "largest": float(max(errors))}
