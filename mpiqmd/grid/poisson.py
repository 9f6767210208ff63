"""The Coulomb potential of a density: exactly for band-limited densities by separable transforms, or by multigrid.

Periodic: ``v = W^T (4π / k²) W ρ`` in a real Fourier basis, the k = 0 term dropped as plane-wave codes do.

Isolated: the convolution ``v(r) = ∫ ρ(r') / |r - r'| dr'`` in free space, without images.  The Coulomb kernel is cut
beyond the largest distance R inside the cell, which changes nothing there and makes its transform smooth,

    Ĝ(k) = 4π (1 - cos kR) / k²,    Ĝ(0) = 2π R²,

so sampling it on a period of L + R and restricting it to differences inside the cell gives weights with spectral
accuracy (Vico, Greengard, Ferrando, J. Comput. Phys. 323, 191 (2016)).  Embedded in a grid of twice the size they
are those of a :class:`~mpiqmd.grid.convolution.Convolution`.

On very large grids conjugate gradients with multigrid solve a difference equation of order 12 instead
(:mod:`mpiqmd.grid.multigrid`); water's energy at a spacing of 0.1875 bohr is then 3.4e-6 Ha higher.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mpiqmd.grid.arrays import Field
from mpiqmd.grid.convolution import Convolution, period
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.multigrid import MultigridPoisson, uses_multigrid
from mpiqmd.grid.separable import SeparableOperator, fourier_basis, wave_numbers


class Poisson:
    """Solves ``-∇²v = 4πρ`` with the grid's boundary.  Construction is collective."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.multigrid: MultigridPoisson | None = None
        if uses_multigrid(grid):
            self.multigrid = grid.attached("Poisson", lambda: MultigridPoisson(grid))

    @cached_property
    def operator(self) -> SeparableOperator | Convolution:
        """The direct solver, also where the iterations use multigrid: for what is done once per geometry."""
        return self.periodic if self.grid.is_periodic else _free_space(self.grid)

    @cached_property
    def periodic(self) -> SeparableOperator:
        """The direct solver of a periodic cell, whose Fourier basis serves elsewhere, too."""
        return _periodic(self.grid)

    def solve(self, density: Field) -> Field:
        """Return the Hartree potential (Ha) of a density (bohr⁻³).  Collective."""
        if self.multigrid is not None:
            return self.multigrid.solve(density)
        return Field(self.grid, self.operator.apply(density.local[None])[0])


def periodic_waves(grid: Grid) -> list[np.ndarray]:
    """Return the angular wave numbers of the Fourier basis along z, y and x, each of shape (n,), 1/bohr.  Not collective."""
    return [2.0 * np.pi / grid.cell_v[2 - axis] * wave_numbers(grid.shape[axis]) for axis in range(3)]


def squared_norm(waves: list[np.ndarray], kz: slice, ky: slice, kx: slice) -> np.ndarray:
    """Return ``kz² + ky² + kx²`` on part of the mode box, shape (z, y, x), bohr⁻².  Not collective."""
    z, y, x = waves[0][kz] ** 2, waves[1][ky] ** 2, waves[2][kx] ** 2
    return z[:, None, None] + y[None, :, None] + x[None, None, :]


def _periodic(grid: Grid) -> SeparableOperator:
    """Return ``4π (-∇²)^-1`` in a periodic cell (first equation of the module).  Not collective."""
    waves = periodic_waves(grid)

    def inverse_laplacian(*part: slice) -> np.ndarray:
        """Return ``4π / k²``, zero at k = 0, on a part of the mode box, shape (z, y, x), bohr²."""
        squares = squared_norm(waves, *part)
        return np.where(squares > 0, 4.0 * np.pi / np.maximum(squares, 1e-100), 0.0)

    bases = tuple(fourier_basis(n) for n in grid.shape)
    return SeparableOperator(grid, bases, inverse_laplacian)


def _free_space(grid: Grid) -> Convolution:
    """Return the convolution with ``1 / |r|`` in an isolated cell (second equation of the module).  Not collective."""
    radius = float(np.sqrt((grid.cell_v**2).sum()))
    axes = [_KernelAxis(n, grid.spacing_v[2 - axis], radius) for axis, n in enumerate(grid.shape)]

    def kernel(kz: np.ndarray, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
        """Return the transform of the cut kernel at wave numbers of the padded grid, shape (z, y, x), bohr²."""
        z, y, x = axes
        map_y, map_x = y.map[ky], x.map[kx]
        slabs = np.empty((len(z.waves), len(map_y), len(map_x)))
        for index, wave in enumerate(z.waves):
            k = np.sqrt(wave**2 + y.waves[:, None] ** 2 + x.waves[None, :] ** 2)
            cut = 2.0 * np.sin(0.5 * k * radius) ** 2
            transform = 4.0 * np.pi * cut / np.maximum(k, 1e-100) ** 2
            transform[k == 0] = 2.0 * np.pi * radius**2
            slabs[index] = map_y @ transform @ map_x.T
        return np.tensordot(z.map[kz], slabs, axes=1)

    return Convolution(grid, kernel)


class _KernelAxis:
    """One axis of the map from the kernel's transform on the long period to its transform on the padded grid."""

    def __init__(self, n: int, spacing: float, radius: float) -> None:
        padded, long = period(n), 2 * int(np.ceil(0.5 * ((n + 1) + radius / spacing)))
        half = np.arange(long // 2 + 1)
        self.waves = 2.0 * np.pi / (long * spacing) * half
        differences = np.arange(padded // 2 + 1)
        to_space = np.cos(2.0 * np.pi * np.outer(differences, half) / long) / (long * spacing)
        to_space[:, 1 : (long + 1) // 2] *= 2.0
        from_space = np.cos(2.0 * np.pi * np.outer(differences, differences) / padded) * spacing
        from_space[:, 1 : padded // 2] *= 2.0
        self.map = from_space @ to_space
