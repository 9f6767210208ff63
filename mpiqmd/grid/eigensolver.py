"""The lowest eigenpairs of a symmetric operator on the grid, by SLEPc's preconditioned eigensolvers.

    A φ_i = λ_i φ_i,   λ_1 <= λ_2 <= ... <= λ_n,   ∫ φ_i φ_j dr = δ_ij

The operator is never assembled: SLEPc calls back for A φ and for the preconditioned residual K (A - λ) φ, on vectors
that are views of its own storage in the grid's distribution.

The type is generalised Davidson, one expansion vector per wanted pair.  Four orbitals of water in a fixed potential,
64³ points, atomic start, to a residual of 1e-4 Ha: 52 operator applications, against 160 to 390 for Jacobi-Davidson and
360 for LOBPCG.  Fewer expansion vectors at a time save applications (40 with one) but not time.

Source: Davidson, J. Comput. Phys. 17, 87 (1975); Romero, Roman, ACM Trans. Math. Softw. 40, 13 (2014).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count as counter

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.petsc import PETSc, SLEPc
from mpiqmd.parallel.comm import replicate

Operator = Callable[[Orbitals], Orbitals]

BLOCKS_IN_SUBSPACE = 6
"""Search space before a restart, in blocks of wanted pairs."""

_prefixes = counter(1)


class LowestEigenpairs:
    """SLEPc's solver for the lowest eigenpairs of operators on one grid.  Construction is collective.

    It can be used again for other operators; close it with :meth:`destroy` or a ``with`` block.

    Parameters
    ----------
    grid
        The grid the functions live on.
    count
        Number n of eigenpairs wanted.
    """

    def __init__(self, grid: Grid, count: int) -> None:
        self.grid, self.count = grid, count
        self._operator = _Callbacks(grid)
        sizes = (grid.local_size, grid.size)
        self._matrix = PETSc.Mat().createPython((sizes, sizes), self._operator, comm=grid.comm)
        self._matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        self._matrix.setUp()
        self._solver = self._create_solver()

    def _create_solver(self) -> SLEPc.EPS:
        eps = SLEPc.EPS().create(self.grid.comm)
        eps.setOptionsPrefix(f"mpiqmd_eigenpairs_{next(_prefixes)}_")
        eps.setOperators(self._matrix)
        eps.setProblemType(SLEPc.EPS.ProblemType.HEP)
        eps.setType(SLEPc.EPS.Type.GD)
        eps.setWhichEigenpairs(SLEPc.EPS.Which.SMALLEST_REAL)
        eps.setConvergenceTest(SLEPc.EPS.Conv.ABS)
        size = min(max(BLOCKS_IN_SUBSPACE * self.count, self.count + 8), self.grid.size)
        eps.setDimensions(self.count, size)
        eps.setGDBlockSize(self.count)
        eps.setGDRestart(self.count, self.count)
        eps.getDS().setParallel(SLEPc.DS.ParallelType.SYNCHRONIZED)
        transformation = eps.getST()
        transformation.setType(SLEPc.ST.Type.PRECOND)
        transformation.setMatMode(SLEPc.ST.MatMode.SHELL)
        preconditioner = transformation.getKSP().getPC()
        preconditioner.setType(PETSc.PC.Type.PYTHON)
        preconditioner.setPythonContext(self._operator)
        return eps

    def solve(
        self,
        apply: Operator,
        precondition: Operator,
        guess: Orbitals,
        tolerance: float,
        max_iterations: int = 100,
    ) -> tuple[np.ndarray, Orbitals, int]:
        """Return the lowest eigenvalues (ascending), their orthonormal functions and the iterations taken.  Collective.

        The eigenvalues have shape (n,) and the unit of A.

        Parameters
        ----------
        apply
            ``A φ`` of a block of functions; A symmetric.
        precondition
            ``K φ``, K approximating the inverse of A from a safe distance; symmetric positive definite.
        guess
            Functions that span the start of the search space, n to 5n; they need not be orthonormal.
        tolerance
            Largest residual norm ``(∫ (A φ - λ φ)² dr)^1/2`` accepted.
        max_iterations
            Block iterations allowed.

        Raises
        ------
        ConvergenceError
            If fewer than n pairs meet the tolerance.
        """
        self._operator.apply_operator, self._operator.apply_preconditioner = apply, precondition
        start = self._guarded(guess, precondition)
        vectors = [self._wrap(function) for function in start.matrix_local]
        solver = self._solver
        try:
            solver.setGDInitialSize(len(start))
            solver.setInitialSpace(vectors)
            solver.setTolerances(tolerance, max_iterations)
            solver.solve()
        finally:
            for vector in vectors:
                vector.destroy()
            self._operator.forget()
        self._check(tolerance)
        return (*self._collect(), solver.getIterationNumber())

    def _guarded(self, guess: Orbitals, precondition: Operator) -> Orbitals:
        """Return the guess and one smooth function without its symmetry.

        A guess of definite symmetry could never reach a lower state of another one; and generalised Davidson (SLEPc
        3.18) fails if its whole starting space converges at once.  Signs and rotations of the guess do not matter.
        """
        z, y, x = self.grid.local_coordinates
        envelope = np.sqrt(np.einsum("nzyx,nzyx->zyx", guess.local, guess.local))
        skewed = envelope * (1.0 + x) * (1.0 + np.sqrt(2.0) * y) * (1.0 + np.sqrt(3.0) * z)
        guard = precondition(Orbitals(self.grid, skewed[None]))
        return Orbitals(self.grid, np.concatenate([guess.local, guard.local]))

    def _check(self, tolerance: float) -> None:
        """Raise ConvergenceError if the last solve found fewer pairs than asked for.  Not collective."""
        converged = self._solver.getConverged()
        if converged < self.count:
            raise ConvergenceError(
                f"the eigensolver found {converged} of {self.count} orbitals to a residual of {tolerance:.1e} Ha in "
                f"{self._solver.getIterationNumber()} iterations (SLEPc's reason {self._solver.getConvergedReason()}). "
                "Try scf.solver = 'abpg', or fewer scf.empty_orbitals."
            )

    def _collect(self) -> tuple[np.ndarray, Orbitals]:
        """Return the eigenvalues of the last solve, (n,), and their functions, normalised on the grid.  Collective."""
        eigenvalues = np.array([self._solver.getEigenvalue(i).real for i in range(self.count)])
        replicate(self.grid.comm, eigenvalues)
        order = np.argsort(eigenvalues, kind="stable")
        functions = Orbitals(self.grid, np.empty((self.count, *self.grid.local_shape)))
        for row, i in zip(functions.matrix_local, order, strict=True):
            vector = self._wrap(row)
            self._solver.getEigenvector(int(i), vector)
            vector.destroy()
        functions.local /= np.sqrt(self.grid.volume_element)
        return eigenvalues[order], functions

    def _wrap(self, function_local: np.ndarray) -> PETSc.Vec:
        """Return a PETSc vector on this rank's piece of one function, without copying."""
        return PETSc.Vec().createWithArray(function_local, size=(self.grid.local_size, self.grid.size), comm=self.grid.comm)

    def destroy(self) -> None:
        """Free the SLEPc objects.  Collective."""
        self._solver.destroy()
        self._matrix.destroy()

    def __enter__(self) -> LowestEigenpairs:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.destroy()


class _Callbacks:
    """What SLEPc calls: the matrix's and the preconditioner's context in one."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.forget()

    def forget(self) -> None:
        """Let go of the operators, so that nothing they hold outlives a solve."""
        self.apply_operator: Operator | None = None
        self.apply_preconditioner: Operator | None = None

    def mult(self, _matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set ``y = A x``."""
        y.getArray()[:] = self._known(self.apply_operator)(self._function(x)).local.ravel()

    def apply(self, _preconditioner: PETSc.PC, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set ``y = K x``."""
        y.getArray()[:] = self._known(self.apply_preconditioner)(self._function(x)).local.ravel()

    @staticmethod
    def _known(operator: Operator | None) -> Operator:
        assert operator is not None, "SLEPc called back outside a solve"
        return operator

    def _function(self, vector: PETSc.Vec) -> Orbitals:
        return Orbitals(self.grid, vector.getArray(readonly=True).reshape(1, *self.grid.local_shape))
