"""What both solvers of the full grid hold, how they start, and what they say when they do not arrive."""

from __future__ import annotations

from mpiqmd.errors import ConvergenceError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.shifted import ShiftedKineticInverse
from mpiqmd.hifi.iterate import orthonormalised
from mpiqmd.hifi.start import atomic_orbitals
from mpiqmd.kohnsham.model import KohnShamModel, Problem
from mpiqmd.parallel.log import Log, silent
from mpiqmd.parallel.timing import Timers


class OrbitalSolver:
    """A solver whose unknowns are orbitals on the grid.

    Parameters
    ----------
    model
        The physics.
    energy_tolerance
        Estimated remaining error of the energy at which to stop, Ha.
    max_iterations
        Iterations after which a ConvergenceError is raised.
    shift
        σ of the preconditioner ``(T + σ)^-1``, Ha.
    empty_orbitals
        Orbitals beyond the doubly occupied ones, needed at finite electronic temperature.
    log
        Prints one line per iteration; silent by default.
    """

    def __init__(
        self,
        model: KohnShamModel,
        *,
        energy_tolerance: float,
        max_iterations: int,
        shift: float,
        empty_orbitals: int,
        log: Log | None,
    ) -> None:
        self.model = model
        self.energy_tolerance = energy_tolerance
        self.max_iterations = max_iterations
        self.n_orbitals = model.n_occupied + empty_orbitals
        self.preconditioner = ShiftedKineticInverse(model.grid, shift)
        self.log = log or silent(model.grid.comm)
        self.timers = Timers()

    def _start(self, problem: Problem, guess: Orbitals | None) -> Orbitals:
        """Return orthonormal orbitals to start from: the guess's, or atomic ones.  Collective."""
        return orthonormalised(atomic_orbitals(problem, self.n_orbitals) if guess is None else guess)

    def _not_converged(self, iteration: str, error: float, other: str) -> ConvergenceError:
        """Return the error of an iteration that took too long, with the other solver's name as one of the remedies."""
        return ConvergenceError(
            f"the {iteration} did not converge: estimated energy error {error:.1e} Ha after {self.max_iterations} "
            f"iterations, scf.energy_tolerance = {self.energy_tolerance:.1e}. Try more scf.max_iterations, "
            f"scf.solver = '{other}', scf.electronic_temperature = '1000 K' with scf.empty_orbitals = 4 for a small gap, "
            "or check that the geometry is sensible."
        )
