"""``mpiqmd scf``: the ground state of one geometry."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.evaluation import coarse_grid_warning, remove_net_force
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.pipeline.body_frame import align
from mpiqmd.pipeline.build import build_model, build_molecule, build_solver
from mpiqmd.pipeline.cube import write_cube

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Solve the Kohn-Sham problem of the input and return what ``result.json`` holds.  Collective."""
    settings = arguments.settings
    started = time.perf_counter()
    molecule = build_molecule(settings, comm)
    model = build_model(settings, comm, molecule)
    log(f"{''.join(molecule.symbols)}: {model.n_electrons:g} electrons, {model.functional.name}")
    log(model.describe())
    for line in describe_pseudopotentials(model):
        log(line)
    alignment = align(settings, molecule)
    problem = model.place(molecule.positions_av if alignment is None else alignment.body_positions_av)
    setup = time.perf_counter() - started
    state = build_solver(settings, model, log).solve(problem)
    total = time.perf_counter() - started
    forces_av = laboratory_forces(state, molecule, alignment, settings.scf.net_force)
    result = describe(state, molecule, forces_av, settings.scf.net_force) | {"pseudopotentials": provenance(model)}
    result["timing"] = {
        "setup": setup,
        "solve": total - setup - state.timing.get("forces", 0.0),
        "forces": state.timing.get("forces", 0.0),
        "parts": state.timing,
    }
    _print_summary(result, molecule, log.afterwards)
    warning = coarse_grid_warning(float(np.linalg.norm(result["net_force"])), float(model.grid.spacing_v.max()))
    if warning:
        log.afterwards(warning)
    if arguments.density:
        write_cube(arguments.folder / "density.cube", molecule, model.valences_a, state.density, alignment)
        log.afterwards(f"density written to {arguments.folder / 'density.cube'}")
    return result


def provenance(model: KohnShamModel) -> dict[str, dict[str, Any]]:
    """Return what each element's pseudopotential is and where it comes from, as plain data.  Not collective."""
    return {
        symbol: {
            "source": pseudo.source,
            "functional": pseudo.functional,
            "valence": pseudo.valence,
            "core_correction": pseudo.core_density_r is not None,
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


def laboratory_forces(
    state: GroundState, molecule: Molecule, alignment: Alignment | None, net_force: str
) -> np.ndarray:
    """Return the forces on the atoms as they are placed, shape (N, 3), Ha/bohr.  Not collective."""
    if alignment is not None:
        return alignment.gradient_forces(state.gradient_av)
    return remove_net_force(state.forces_av, molecule.masses_a) if net_force == "remove" else state.forces_av


def describe(state: GroundState, molecule: Molecule, forces_av: np.ndarray, net_force: str) -> dict[str, Any]:
    """Return a ground state as plain data: energies in Ha, forces in Ha/bohr.  Not collective."""
    return {
        "energy": state.energy,
        "free_energy": state.free_energy,
        "components": state.components,
        "positions": molecule.positions_av,
        "forces": forces_av,
        "net_force": state.forces_av.sum(axis=0),
        "net_force_removed": net_force == "remove",
        "eigenvalues": state.eigenvalues_n,
        "occupations": state.occupations_n,
        "converged": state.converged,
        "iterations": state.iterations,
        "residual": state.residual,
    }


def _print_summary(result: dict[str, Any], molecule: Molecule, log: Log) -> None:
    log(f"converged in {result['iterations']} iterations, {result['timing']['solve']:.2f} s")
    log(f"total energy {result['energy']:.8f} Ha")
    for name, value in result["components"].items():
        log(f"  {name:10s} {value:16.8f} Ha")
    log("eigenvalues " + " ".join(f"{value:.5f}" for value in result["eigenvalues"]) + " Ha")
    treatment = "removed" if result["net_force_removed"] else "kept"
    net = " ".join(f"{1e3 * value:.3f}" for value in result["net_force"])
    log(f"forces (Ha/bohr); net force of the grid ({net}) mHa/bohr {treatment}")
    for symbol, force_v in zip(molecule.symbols, result["forces"], strict=True):
        log(f"  {symbol:3s}" + " ".join(f"{value:12.7f}" for value in force_v))
