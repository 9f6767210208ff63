"""The real-space grid: cell, spacing, boundary, and the block of points each rank owns.

The cell is orthogonal with edges ``L`` and centred on the origin.  With ``n = points`` intervals a side the spacing is
``h = L / n``.  A periodic cell has the n points ``-L/2, -L/2 + h, ...``; an isolated one has the n - 1 interior points
of the same lattice, functions vanishing on the walls and beyond, so that it is symmetric under mirrors through the
origin.  With even n the origin is a grid point in both.

Points are distributed by a PETSc DMDA over a ``1 x py x pz`` process grid: x lines stay whole, which makes separable
transforms need one exchange per distributed axis and leaves room for ``n_y n_z`` ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from mpi4py import MPI

from mpiqmd.errors import ConfigError
from mpiqmd.grid import stencils
from mpiqmd.grid.petsc import PETSc

BOUNDARIES = ("isolated", "periodic")
POISSON = ("auto", "direct", "multigrid")


class Grid:
    """A uniform orthogonal grid distributed over a communicator.  Construction is collective.

    Parameters
    ----------
    comm
        Communicator whose ranks share the grid.
    cell
        Edge lengths (x, y, z), bohr; one number for a cube.
    points
        Intervals per side (x, y, z); one number for all.
    order
        Order of the central finite differences: 2, 4, 6, 8, 10 or 12.
    boundary
        ``"isolated"`` or ``"periodic"``.
    poisson
        How Poisson's equation and ``(T + σ)^-1`` are solved: ``"direct"``, ``"multigrid"``, or as its size asks.
    process_shape
        Blocks along x, y and z; chosen for the least halo if not given.

    Raises
    ------
    ConfigError
        If a size is impossible, or there are more ranks than the stencil allows.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        cell: float | Sequence[float],
        points: int | Sequence[int],
        order: int = 8,
        boundary: str = "isolated",
        *,
        poisson: str = "auto",
        process_shape: tuple[int, int, int] | None = None,
    ) -> None:
        self.comm = comm
        self.cell_v = np.broadcast_to(np.asarray(cell, float), 3).copy()
        self.points_v = np.broadcast_to(np.asarray(points, int), 3).copy()
        self.order = order
        self.boundary = boundary
        self.poisson = poisson
        self._attached: dict[Hashable, Any] = {}
        self._check()
        self.width = order // 2
        self.spacing_v = self.cell_v / self.points_v
        self.volume_element = float(np.prod(self.spacing_v))
        self.shape = tuple(int(n) for n in (self.points_v - (0 if self.is_periodic else 1))[::-1])
        self.process_shape = process_shape or self._process_shape()
        self.dm = self._create_dmda()
        self._read_layout()

    @property
    def is_periodic(self) -> bool:
        """Whether functions wrap around the cell."""
        return self.boundary == "periodic"

    @property
    def periodic_cell_v(self) -> np.ndarray | None:
        """The edges of a periodic cell, shape (3,), bohr, as nearest images need them; None in an isolated one."""
        return self.cell_v if self.is_periodic else None

    @property
    def sides(self) -> list[tuple[float, int]]:
        """Edge (bohr) and intervals along x, y, z: axes with equal sides may be exchanged."""
        return [(float(edge), int(points)) for edge, points in zip(self.cell_v, self.points_v, strict=True)]

    @property
    def volume(self) -> float:
        """Volume of the cell, bohr³."""
        return float(np.prod(self.cell_v))

    @property
    def size(self) -> int:
        """Number of grid points over all ranks."""
        return int(np.prod(self.shape))

    @property
    def local_size(self) -> int:
        """Number of grid points on this rank."""
        return int(np.prod(self.local_shape))

    def _check(self) -> None:
        """Raise ConfigError if a size or a choice is impossible."""
        if self.order not in stencils.ORDERS:
            raise ConfigError(f"grid.order = {self.order}: allowed are {stencils.ORDERS}. Use 8.")
        if self.boundary not in BOUNDARIES:
            raise ConfigError(f"grid.boundary = {self.boundary!r}: allowed are {BOUNDARIES}.")
        if self.poisson not in POISSON:
            raise ConfigError(f"grid.poisson = {self.poisson!r}: allowed are {POISSON}. Use 'auto'.")
        if (self.cell_v <= 0).any() or not np.isfinite(self.cell_v).all():
            raise ConfigError(f"grid.cell = {self.cell_v.tolist()}: edges must be positive lengths in bohr.")
        smallest = self.order + 2
        if (self.points_v < smallest).any():
            raise ConfigError(
                f"grid.points = {self.points_v.tolist()}: a stencil of order {self.order} needs at least {smallest} "
                "points a side. Use more points or a lower grid.order."
            )

    def _process_shape(self) -> tuple[int, int, int]:
        """Choose (px, py, pz) with px = 1, whole stencils inside each block, and the least halo."""
        size, (n_z, n_y, _) = self.comm.size, self.shape
        candidates = [
            (size // p_y, p_y)
            for p_y in range(1, size + 1)
            if size % p_y == 0 and n_y // p_y >= self.width and n_z // (size // p_y) >= self.width
        ]
        if not candidates:
            raise ConfigError(
                f"{size} ranks cannot share a grid of {n_y} x {n_z} lines: each needs at least {self.width} lines a "
                f"side for order {self.order}. Use at most {(n_y // self.width) * (n_z // self.width)} ranks, a number "
                "that factors into two such sides."
            )
        p_z, p_y = min(candidates, key=lambda pair: (pair[0] > 1) / n_z * pair[0] + (pair[1] > 1) / n_y * pair[1])
        return 1, p_y, p_z

    def _create_dmda(self) -> PETSc.DMDA:
        """Return PETSc's distributed array of this grid, with halos as wide as the stencil.  Collective."""
        kind = PETSc.DM.BoundaryType.PERIODIC if self.is_periodic else PETSc.DM.BoundaryType.NONE
        return PETSc.DMDA().create(
            dim=3,
            dof=1,
            sizes=self.shape[::-1],
            proc_sizes=self.process_shape,
            boundary_type=(kind,) * 3,
            stencil_type=PETSc.DMDA.StencilType.STAR,
            stencil_width=self.width,
            setup=True,
            comm=self.comm,
        )

    def _read_layout(self) -> None:
        """Read from PETSc who has which block, and make a communicator for each split axis.  Collective."""
        starts, sizes = self.dm.getCorners()
        self.start = tuple(int(start) for start in starts[::-1])
        self.local_shape = tuple(int(size) for size in sizes[::-1])
        self.local_slices = tuple(slice(s, s + n) for s, n in zip(self.start, self.local_shape, strict=True))
        ranges = [np.asarray(owned, int) for owned in self.dm.getOwnershipRanges()[::-1]]
        processes = self.process_shape[::-1]
        self.counts = tuple(np.diff(c) if len(c) == p + 1 else c for c, p in zip(ranges, processes, strict=True))
        _, p_y, _ = self.process_shape
        i_y, i_z = self.comm.rank % p_y, self.comm.rank // p_y
        self.axis_comms = (self.comm.Split(i_y, i_z), self.comm.Split(i_z, i_y), None)

    def refined(self, factor: float) -> Grid:
        """Return a grid of at least so many times as many intervals, even ones, on the same process grid.  Collective."""
        points = 2 * np.ceil(0.5 * factor * self.points_v - 1e-9).astype(int)
        return Grid(
            self.comm,
            self.cell_v,
            points,
            self.order,
            self.boundary,
            poisson=self.poisson,
            process_shape=self.process_shape,
        )

    def coordinates(self, axis: int) -> np.ndarray:
        """Return all coordinates along one array axis (0 is z, 2 is x), shape (points,), bohr.  Not collective."""
        direction = 2 - axis
        first = 0 if self.is_periodic else 1
        steps = np.arange(first, first + self.shape[axis])
        return -0.5 * self.cell_v[direction] + steps * self.spacing_v[direction]

    @cached_property
    def local_coordinates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """This rank's coordinates (z, y, x), shaped to broadcast over a local block, bohr."""
        z, y, x = (self.coordinates(axis)[self.local_slices[axis]] for axis in range(3))
        return z[:, None, None], y[None, :, None], x[None, None, :]

    def describe(self) -> str:
        """Return one line for the log."""
        n, h = " x ".join(map(str, self.points_v)), self.spacing_v.max()
        blocks = " x ".join(map(str, self.process_shape))
        return f"{n} points, h = {h:.4f} bohr, order {self.order}, {self.boundary}, process grid {blocks}"

    def signature(self) -> dict[str, object]:
        """Return what must agree for two grids to hold the same functions.  Not collective."""
        return {
            "cell": self.cell_v.tolist(),
            "points": self.points_v.tolist(),
            "order": int(self.order),
            "boundary": self.boundary,
        }

    def attached(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returned when first called for this key; its ``destroy`` is called with the grid's.

        Collective where ``make`` is.
        """
        if key not in self._attached:
            self._attached[key] = make()
        return self._attached[key]

    def destroy(self) -> None:
        """Free what is attached, the DMDA and the axis communicators.  Collective."""
        while self._attached:
            self._attached.popitem()[1].destroy()
        self.dm.destroy()
        for comm in self.axis_comms[:2]:
            comm.Free()
