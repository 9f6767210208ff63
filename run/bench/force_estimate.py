"""The estimated errors of reduced energies and forces against the errors themselves, for bases from few modes to many.

    .venv/bin/python -m run.bench.force_estimate HF-LDA H2O-LDA H2O-PBE NH3-PBE

Small molecules on 24 points a side.  The modes are those of the equilibrium geometry and of nine random ones; errors are looked
at on 50 more, displaced by 0.03 to 0.17 bohr.  A row is a number of modes: errors that are there, and how much of them is
estimated, as root mean squares over all geometries and for the largest force error of each.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from mpiqmd.grid import Grid
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.frame import BodyFrame, make_frame
from mpiqmd.molecule.gth import load_gth
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import standard_orientation
from mpiqmd.molecule.symmetry import grid_symmetries
from mpiqmd.rom.basis import ReducedBasis, build_basis
from mpiqmd.rom.estimate import ErrorEstimator
from mpiqmd.rom.grid_solver import RomSolver

MOLECULES = {
    "HF": (8.0, ("F", "H"), [[0.0, 0.0, 0.0], [1.75, 0.0, 0.0]]),
    "H2O": (8.0, ("O", "H", "H"), [[0.0, 0.0, 0.0], [1.12, 1.447, 0.0], [1.12, -1.447, 0.0]]),
    "NH3": (
        9.0,
        ("N", "H", "H", "H"),
        [[0.0, 0.0, 0.0], [1.77, 0.0, 0.72], [-0.885, 1.533, 0.72], [-0.885, -1.533, 0.72]],
    ),
}
"""Edge of the cell, atoms and positions near equilibrium, bohr."""
POINTS, TRAINED, DISPLACED = 24, 10, 0.1
"""Points a side, training geometries, and their displacements from the first (standard deviation, bohr)."""
TOLERANCE = 1e-14
"""Of full energies, Ha: forces are right to the root of it."""
RESOLVED = 1e-8
"""Median energy errors below it (Ha) are not looked at: their forces are not known well enough."""


class Truth(NamedTuple):
    """A full ground state: energy (Ha) and gradient (N, 3) in the body frame, Ha/bohr, at positions (N, 3), bohr."""

    positions_av: np.ndarray
    energy: float
    gradient_av: np.ndarray


def prepare(case: str, geometries: int) -> tuple[KohnShamModel, BodyFrame, ReducedBasis, list[Truth]]:
    """Return the physics of a case such as ``H2O-LDA``, its body frame, all modes of its training, and unseen geometries."""
    name, _, functional = case.partition("-")
    edge, symbols, positions = MOLECULES[name]
    molecule = standard_orientation(Molecule(symbols, np.array(positions)))
    frame, rng = make_frame(molecule), np.random.default_rng(1)
    reference_av = frame.align(molecule.positions_av).body_positions_av
    grid = Grid(MPI.COMM_SELF, edge, POINTS, order=8, boundary="isolated")
    pseudopotentials = {symbol: load_gth(symbol, functional) for symbol in set(symbols)}
    model = KohnShamModel(grid, molecule.with_positions(reference_av), pseudopotentials, Functional(functional))
    solver = AbpgSolver(model, energy_tolerance=TOLERANCE)

    def displaced(deviation: float) -> np.ndarray:
        return frame.align(reference_av + rng.normal(scale=deviation, size=reference_av.shape)).body_positions_av

    training = [reference_av, *(displaced(DISPLACED) for _ in range(TRAINED - 1))]
    states = [solver.solve(model.place(positions_av)) for positions_av in training]
    snapshots = Orbitals(grid, np.concatenate([state.orbitals.local for state in states]))
    basis = build_basis(snapshots, 1.0, symmetries=grid_symmetries(model.molecule, model.grid.sides))
    truths = []
    for deviation in np.linspace(0.03, 0.17, geometries):
        positions_av = displaced(float(deviation))
        state = solver.solve(model.place(positions_av))
        truths.append(Truth(positions_av, state.free_energy, -state.forces_av))
    return model, frame, basis, truths


def compare(model: KohnShamModel, frame: BodyFrame, basis: ReducedBasis, truths: list[Truth]) -> dict[str, float]:
    """Return how the errors of a basis compare with their estimates."""
    estimator, solver = ErrorEstimator(model, basis.modes), RomSolver(model, basis.modes, tolerance=1e-10)
    rows, errors, estimates = [], [], []
    for positions_av, energy, gradient_av in truths:
        state, problem = solver.solve(positions_av), model.place(positions_av)
        correction = estimator.correction(problem, state.density_matrix_nn)
        estimated_av = estimator.full_gradient(problem, correction, -state.forces_av)
        back = frame.align(positions_av).gradient_forces
        errors.append(back(-state.forces_av - gradient_av))
        estimates.append(back(-state.forces_av - estimated_av))
        rows.append((state.free_energy - energy, correction.energy))
    true_s, estimated_s = np.array(rows).T
    sizes_sa, estimated_sa = (np.linalg.norm(np.array(each), axis=2) for each in (errors, estimates))
    largest_s, estimated_largest_s = sizes_sa.max(axis=1), estimated_sa.max(axis=1)
    ratios_s = estimated_largest_s / largest_s
    return {
        "modes": basis.rank,
        "energy error": float(np.median(true_s)),
        "energy ratio": float(np.median(estimated_s / true_s)),
        "force error": float(np.median(largest_s)),
        "force ratio, rms": float(np.sqrt((estimated_sa**2).sum() / (sizes_sa**2).sum())),
        "median": float(np.median(ratios_s)),
        "lowest": float(ratios_s.min()),
        "highest": float(ratios_s.max()),
        "correlation": float(np.corrcoef(np.log(largest_s), np.log(estimated_largest_s))[0, 1]),
    }


def main() -> None:
    """Print a table for every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", help="molecule and functional, such as H2O-LDA")
    parser.add_argument("--geometries", type=int, default=50)
    arguments = parser.parse_args()
    for case in arguments.cases:
        model, frame, basis, truths = prepare(case, arguments.geometries)
        pairs = model.n_occupied
        for rank in sorted({pairs + 2, pairs + 4, 2 * pairs + 4, 4 * pairs, 6 * pairs, 8 * pairs, basis.rank}):
            if rank > basis.rank:
                continue
            found = compare(model, frame, basis.truncated(rank), truths)
            if found["energy error"] < RESOLVED:
                break
            print(case, "  ".join(f"{name} {value:.3g}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
