"""Multigrid in the grid's own distribution: work proportional to the number of points, for very large grids.

A hierarchy of grids, each with half the intervals of the one before, approximates the inverse of a shifted kinetic
operator by one symmetric V-cycle of PETSc,

    K ≈ (T + σ)^-1,    T = -∇²/2 by second-order differences on every level,

with Chebyshev smoothing of degree 2 over the part of the spectrum that the next level cannot hold, linear interpolation
and its transpose, and the coarsest level solved exactly by its 1-D eigenvectors on every rank.  All of it is fixed when
it is made, so K is one linear symmetric positive operator, the same on any number of ranks.  It preconditions the orbitals;
and it preconditions conjugate gradients for Poisson's equation ``T v = 2πρ`` by differences of order 12.

Messages go to neighbours only, except for one gather of at most ``COARSEST`` numbers per cycle; the pencil transposes
of :mod:`mpiqmd.grid.separable` go to whole rows of the process grid.  Even so they take longer on most machines: halos of
thin blocks are as large as the blocks, and there are many.  What multigrid saves is the dense 1-D transforms, whose work
per point grows with the points a side.

Source: Brandt, Math. Comp. 31, 333 (1977); Adams, Brezina, Hu, Tuminaro, J. Comput. Phys. 188, 593 (2003).
"""

from __future__ import annotations

from itertools import count as counter
from itertools import product

import numpy as np
from mpi4py import MPI
from scipy.sparse import csr_matrix

from mpiqmd.errors import ConvergenceError
from mpiqmd.grid import stencils
from mpiqmd.grid.arrays import Field
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.levels import Level, hierarchy, interpolation, star_matrix
from mpiqmd.grid.multipoles import Multipoles
from mpiqmd.grid.petsc import PETSc

SWEEPS = 2
"""Degree of the Chebyshev smoother, before and after the coarser levels."""
CYCLE_ORDER = 4
"""Highest order of the differences on the finest level.  Water by ABPG: 14 iterations with the exact inverse, 15 with
order 4; with a history of one step 16, 18 with orders 4 and 8, and 26 with order 2."""
POISSON_ORDER = 12
"""Order of the differences in Poisson's equation: its error must stay below that of the rest of the energy."""
MULTIPOLE_DEGREE = 8
"""Highest angular momentum of the potential on the walls of an isolated cell."""
TOLERANCE = 1e-10
"""Relative residual at which Poisson's equation counts as solved."""
MAX_ITERATIONS = 100

MULTIGRID_SIZE = 768**3
MULTIGRID_RANKS = 1024
"""``grid.poisson = "auto"`` means multigrid for at least so many points on at most so many ranks: where the performance
model of ``run/scaling`` finds a ground state of 64 orbitals faster, if transposes send four times slower than neighbours do;
on a network of full bisection bandwidth the direct solvers are faster everywhere."""

_prefixes = counter(1)


def uses_multigrid(grid: Grid) -> bool:
    """Return whether ``(T + σ)^-1`` and Poisson's equation are solved by multigrid on this grid.  Not collective."""
    return chooses_multigrid(grid.poisson, grid.size, grid.comm.size)


def chooses_multigrid(poisson: str, size: int, ranks: int) -> bool:
    """Return what ``grid.poisson`` means for so many grid points on so many ranks.  Not collective."""
    if poisson == "auto":
        return size >= MULTIGRID_SIZE and ranks <= MULTIGRID_RANKS
    return poisson == "multigrid"


class VCycle:
    """One multigrid V-cycle for ``(T + σ)^-1``.  Construction is collective; free it with :meth:`destroy`.

    Parameters
    ----------
    grid
        The grid.
    shift
        σ >= 0 in hartree; above 0 in a periodic cell.
    """

    def __init__(self, grid: Grid, shift: float) -> None:
        self.grid, self.shift = grid, shift
        self.levels = hierarchy(grid)
        orders = [min(grid.order, CYCLE_ORDER), *(2 for _ in self.levels[1:])]
        self._matrices = [self._kinetic(level, order) for level, order in zip(self.levels, orders, strict=True)]
        self._interpolations = [
            _matrix(grid.comm, fine, coarse, interpolation(fine, coarse))
            for fine, coarse in zip(self.levels, self.levels[1:], strict=False)
        ]
        self.preconditioner = PETSc.PC().create(grid.comm)
        self.preconditioner.setOperators(self._matrices[0], self._matrices[0])
        self._configure(orders)
        self.preconditioner.setUp()

    def _kinetic(self, level: Level, order: int) -> PETSc.Mat:
        """Return T + σ on one level, times its share of the restriction's weights."""
        rows = star_matrix(level, kinetic_weights(order), self.shift) * level.weight
        return _matrix(self.grid.comm, level, level, rows)

    def _configure(self, orders: list[int]) -> None:
        preconditioner, prefix = self.preconditioner, f"mpiqmd_multigrid_{next(_prefixes)}_"
        preconditioner.setOptionsPrefix(prefix)
        preconditioner.setType(PETSc.PC.Type.MG)
        preconditioner.setMGLevels(len(self.levels))
        for index, (matrix, order) in enumerate(zip(self._matrices, orders, strict=True)):
            level = len(self.levels) - 1 - index
            smoother = preconditioner.getMGSmoother(level)
            smoother.setOperators(matrix, matrix)
            if level == 0:
                _make_exact(smoother)
            else:
                preconditioner.setMGInterpolation(level, self._interpolations[index])
                _make_smoother(smoother, order)

    @property
    def finest(self) -> PETSc.Mat:
        """The operator of the finest level."""
        return self._matrices[0]

    def apply(self, block_local: np.ndarray) -> np.ndarray:
        """Return ``K f``, in the unit of f per Ha, for a local block f of shape (n, z, y, x).  Collective."""
        result = np.empty(block_local.shape)
        for source, target in zip(np.ascontiguousarray(block_local, float), result, strict=True):
            right, left = _wrap(self.grid, source), _wrap(self.grid, target)
            self.preconditioner.apply(right, left)
            right.destroy()
            left.destroy()
        return result

    def destroy(self) -> None:
        """Free the PETSc objects.  Collective."""
        self.preconditioner.destroy()
        for matrix in (*self._interpolations, *self._matrices):
            matrix.destroy()


def kinetic_weights(order: int) -> list[float]:
    """Return the weights of ``-½ d²/dx²`` at offsets ``-w..w`` on a unit grid.  Not collective."""
    return [-0.5 * float(weight) for weight in stencils.second_derivative(order)]


def rough_waves(order: int) -> tuple[float, float]:
    """Return the range of T over its diagonal for waves that the next coarser grid cannot hold.  Not collective.

    Those have at least one wave number of half the Nyquist number or more; [1/3, 2] for order 2.
    """
    width = order // 2
    weights = np.array(kinetic_weights(order)[width:])
    offsets = np.arange(width + 1)
    symbol = [weights[0] + 2.0 * weights[1:] @ np.cos(wave * offsets[1:]) for wave in (0.5 * np.pi, np.pi)]
    # At the least the other two wave numbers are 0 and add nothing; the diagonal is that of three axes.
    return float(symbol[0] / (3.0 * weights[0])), float(symbol[1] / weights[0])


def _make_smoother(solver: PETSc.KSP, order: int) -> None:
    options, key = PETSc.Options(), f"{solver.getOptionsPrefix()}ksp_chebyshev_eigenvalues"
    solver.setType(PETSc.KSP.Type.CHEBYSHEV)
    solver.setNormType(PETSc.KSP.NormType.NONE)
    solver.setTolerances(max_it=SWEEPS)
    solver.getPC().setType(PETSc.PC.Type.JACOBI)
    options[key] = "{},{}".format(*rough_waves(order))
    solver.setFromOptions()
    options.delValue(key)


def _make_exact(solver: PETSc.KSP) -> None:
    """Solve the coarsest level directly on every rank."""
    solver.setType(PETSc.KSP.Type.PREONLY)
    preconditioner = solver.getPC()
    preconditioner.setType(PETSc.PC.Type.REDUNDANT)


class MultigridPoisson:
    """Solves ``-∇²v = 4πρ`` by conjugate gradients and multigrid.  Construction is collective; :meth:`destroy` it.

    In an isolated cell the potential beyond the walls is that of the density's multipoles up to ``MULTIPOLE_DEGREE``;
    in a periodic one its mean and the density's are removed.  Every solve starts from zero, so that the answer depends
    on the density alone.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.iterations = 0
        smallest_wave = 2.0 * np.pi / float(grid.cell_v.max())
        self.cycle = VCycle(grid, 0.02 * smallest_wave**2 if grid.is_periodic else 0.0)
        self.multipoles = None if grid.is_periodic else Multipoles(grid, MULTIPOLE_DEGREE)
        self.weights = kinetic_weights(POISSON_ORDER)
        finest = self.cycle.levels[0]
        self._matrix = _matrix(grid.comm, finest, finest, star_matrix(finest, self.weights, 0.0))
        self._matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        self._null_space = None
        if grid.is_periodic:
            self._null_space = PETSc.NullSpace().create(constant=True, comm=grid.comm)
            self._matrix.setNullSpace(self._null_space)
        self._solver = self._create_solver()

    def _create_solver(self) -> PETSc.KSP:
        solver = PETSc.KSP().create(self.grid.comm)
        solver.setPC(self.cycle.preconditioner)
        solver.setOperators(self._matrix, self.cycle.finest)
        solver.setType(PETSc.KSP.Type.CG)
        solver.setTolerances(rtol=TOLERANCE, atol=1e-50, max_it=MAX_ITERATIONS)
        return solver

    def solve(self, density: Field) -> Field:
        """Return the Hartree potential (Ha) of a density (bohr⁻³).  Collective.

        Raises ConvergenceError if the residual does not fall by 1e-10 in 100 iterations.
        """
        right = 2.0 * np.pi * density.local
        if self.multipoles is None:
            right -= 2.0 * np.pi / self.grid.volume * density.integrate()
        else:
            self._add_beyond_walls(self.multipoles, right, self.multipoles.moments(density))
        potential = np.zeros(self.grid.local_shape)
        source, target = _wrap(self.grid, right), _wrap(self.grid, potential)
        self._solver.solve(source, target)
        source.destroy()
        target.destroy()
        self.iterations = self._solver.getIterationNumber()
        self._check()
        return Field(self.grid, potential)

    def _check(self) -> None:
        reason = self._solver.getConvergedReason()
        if reason < 0:
            raise ConvergenceError(
                f"Poisson's equation was not solved: {self.iterations} multigrid iterations, PETSc's reason {reason}; "
                f"a relative residual of {TOLERANCE:.0e} is needed. Set grid.poisson = 'direct'."
            )

    def _add_beyond_walls(self, multipoles: Multipoles, right_local: np.ndarray, moments_cba: np.ndarray) -> None:
        """Move what the stencils see on the walls and beyond them to the right-hand side.  Not collective."""
        grid = self.grid
        weights = np.array(self.weights[len(self.weights) // 2 + 1 :])
        layers = np.arange(len(weights))
        for axis, side in product(range(3), (-1, 1)):
            own = np.arange(grid.local_slices[axis].start, grid.local_slices[axis].stop)
            depths = own if side < 0 else grid.shape[axis] - 1 - own
            near = np.flatnonzero(depths < len(weights))
            if len(near) == 0:
                continue
            spacing, half = grid.spacing_v[2 - axis], 0.5 * grid.cell_v[2 - axis]
            coordinates = [grid.coordinates(other)[part] for other, part in enumerate(grid.local_slices)]
            coordinates[axis] = side * (half + layers * spacing)
            outside = multipoles.potential(moments_cba, *coordinates)
            reach = depths[near][:, None] + layers
            coupling = np.where(reach < len(weights), weights[np.minimum(reach, len(weights) - 1)], 0.0) / spacing**2
            seen = np.moveaxis(np.tensordot(coupling, outside, axes=(1, axis)), 0, axis)
            right_local[(*(slice(None),) * axis, near)] -= seen

    def destroy(self) -> None:
        """Free the PETSc objects.  Collective."""
        self._solver.destroy()
        self._matrix.destroy()
        if self._null_space is not None:
            self._null_space.destroy()
        self.cycle.destroy()


def _wrap(grid: Grid, function_local: np.ndarray) -> PETSc.Vec:
    """Return a PETSc vector on this rank's piece of one function, without copying."""
    return PETSc.Vec().createWithArray(function_local, size=(grid.local_size, grid.size), comm=grid.comm)


def _matrix(comm: MPI.Comm, rows: Level, columns: Level, local: csr_matrix) -> PETSc.Mat:
    """Return a distributed matrix from this rank's rows with global column numbers."""
    sizes = ((rows.local_size, rows.size), (columns.local_size, columns.size))
    integer = PETSc.IntType
    csr = (local.indptr.astype(integer), local.indices.astype(integer), local.data)
    matrix = PETSc.Mat().createAIJ(sizes, csr=csr, comm=comm)
    matrix.assemble()
    return matrix
