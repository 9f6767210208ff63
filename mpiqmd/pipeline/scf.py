"""``mpiqmd scf``: the ground state of one geometry."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.exchange.cube import write_cube
from mpiqmd.findings import closing
from mpiqmd.kohnsham.checks import GroundStateWatch
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.properties import (
    dipole_line,
    dipole_moment,
    frontier_levels,
    frontier_line,
)
from mpiqmd.molecule.evaluation import largest_force, remove_net_force
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.placement import Placement
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.pipeline.build import align, build_model, build_molecule, build_solver
from mpiqmd.pipeline.surface import on_ground_states

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

MEANING_OF_A = (
    "A below is the free energy of the electrons (Mermin): energy minus temperature times entropy, and the energy itself "
    "where electrons are cold; error ~ is how far it still is from its minimum"
)


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Solve the Kohn-Sham problem of the input and return what ``result.json`` holds.  Collective."""
    settings = arguments.settings
    started = time.perf_counter()
    molecule = build_molecule(settings, comm)
    model = build_model(settings, comm, molecule)
    log(f"{molecule.formula}: {model.n_electrons:g} electrons, {model.functional.name}")
    log(model.describe())
    for line in describe_pseudopotentials(model):
        log(line)
    alignment = align(settings, molecule)
    placement = None if alignment or model.grid.is_periodic else Placement(model.grid.cell_v)
    if placement and placement.place(molecule.positions_av):
        log(placement.describe())
    placed = alignment if placement is None else placement.alignment(molecule.positions_av)
    problem = model.place(placed.body_positions_av if placed else molecule.positions_av)
    log(MEANING_OF_A)
    setup = time.perf_counter() - started
    state = build_solver(settings, model, log).solve(problem)
    total = time.perf_counter() - started
    forces_av = laboratory_forces(state, molecule, alignment, settings.scf.net_force)
    result = describe(state, molecule, forces_av, settings.scf.net_force) | {"pseudopotentials": provenance(model)}
    result["dipole"] = dipole_moment(problem, state, alignment)
    result["timing"] = {
        "setup": setup,
        "solve": total - setup - state.timing.get("forces", 0.0),
        "forces": state.timing.get("forces", 0.0),
        "parts": state.timing,
    }
    result["moved_by"] = placement.shift_v if placement else np.zeros(3)
    _print_summary(result, molecule, log.afterwards)
    watch = GroundStateWatch(model, log.afterwards)
    result["checks"] = watch.look(problem, state).describe()
    if arguments.density:
        write_cube(arguments.folder / "density.cube", molecule, model.valences_a, state.density, placed)
        log.afterwards(f"density written to {arguments.folder / 'density.cube'}")
    result["verdict"] = closing("energies and forces to some mHa", on_ground_states(watch))
    log.afterwards(result["verdict"]["words"])
    return result


def provenance(model: KohnShamModel) -> dict[str, dict[str, Any]]:
    """Return what each element's pseudopotential is and where it comes from, as plain data.  Not collective."""
    return {
        symbol: {
            "source": pseudo.source,
            "functional": pseudo.functional,
            "valence": pseudo.valence,
            "core_correction": pseudo.core_density_r is not None,
            "remarks": list(pseudo.remarks),
            "sha256": pseudo.sha256,
        }
        for symbol, pseudo in model.pseudopotentials.items()
    }


def describe_pseudopotentials(model: KohnShamModel) -> list[str]:
    """Return a line on each pseudopotential, with a remark if it was made for another functional.  Not collective."""
    lines = []
    for symbol, pseudo in model.pseudopotentials.items():
        made_for = pseudo.functional.upper() != model.functional.family.upper()
        remark = f", made for {pseudo.functional}, used with {model.functional.family}" if made_for else ""
        core = ", nonlinear core correction" if pseudo.core_density_r is not None else ""
        lines.append(f"{symbol}: {pseudo.source}, {pseudo.valence:g} valence electrons{core}{remark}")
    return lines


def laboratory_forces(state: GroundState, molecule: Molecule, alignment: Alignment | None, net_force: str) -> np.ndarray:
    """Return the forces on the atoms as they are placed, shape (N, 3), Ha/bohr.  Not collective."""
    if alignment is not None:
        return alignment.gradient_forces(state.gradient_av)
    return remove_net_force(state.forces_av, molecule.masses_a) if net_force == "remove" else state.forces_av


def describe(state: GroundState, molecule: Molecule, forces_av: np.ndarray, net_force: str) -> dict[str, Any]:
    """Return a ground state as plain data: energies in Ha, forces in Ha/bohr.  Not collective."""
    return {
        "formula": molecule.formula,
        "labels": molecule.labels,
        "energy": state.energy,
        "free_energy": state.free_energy,
        "components": state.components,
        "positions": molecule.positions_av,
        "forces": forces_av,
        "largest_force": largest_force(forces_av),
        "net_force": state.forces_av.sum(axis=0),
        "net_force_removed": net_force == "remove",
        "eigenvalues": state.eigenvalues_n,
        "occupations": state.occupations_n,
        "converged": state.converged,
        "iterations": state.iterations,
        "residual": state.residual,
    } | frontier_levels(state.eigenvalues_n, state.occupations_n)


def _print_summary(result: dict[str, Any], molecule: Molecule, log: Log) -> None:
    log(f"converged in {result['iterations']} iterations, {result['timing']['solve']:.2f} s")
    log(f"total energy {result['energy']:.8f} Ha")
    for name, value in result["components"].items():
        log(f"  {name:10s} {value:16.8f} Ha")
    log("eigenvalues " + " ".join(f"{value:.5f}" for value in result["eigenvalues"]) + " Ha")
    log(frontier_line(result))
    if result["dipole"] is not None:
        log(dipole_line(result["dipole"], molecule.charge))
    treatment = "removed" if result["net_force_removed"] else "kept"
    net = " ".join(f"{1e3 * value:.3f}" for value in result["net_force"])
    log(f"forces (Ha/bohr), largest {result['largest_force']:.2e}; net force of the grid ({net}) mHa/bohr {treatment}")
    for label, force_v in zip(result["labels"], result["forces"], strict=True):
        log(f"  {label:5s}" + " ".join(f"{value:12.7f}" for value in force_v))
