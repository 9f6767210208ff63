"""The ions' local pseudopotential on the grid, and its derivative with respect to the nuclei.

Every ion is split into a Gaussian-smeared core of width w and a short-range rest,

    V_loc(r) = -Z erf(r / w) / r  +  [V_loc(r) + Z erf(r / w) / r].

The rest is band-limited once per species and added from a spline near its ion.  The smeared part has a closed form in
free space; in a periodic cell it is a product of 1-D Gaussians in Fourier space,

    v(G) = -4π Z exp(-G² w²/4) / G²,   with the finite limit π Z w² kept at G = 0,

so that the total energy is that of plane-wave codes.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.kernels import add_smeared_coulomb, smeared_coulomb_pull
from mpiqmd.grid.poisson import Poisson, periodic_waves
from mpiqmd.grid.radial import RadialFunction, band_limited
from mpiqmd.kohnsham.atom_functions import add_placed, placed_gradient_local
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.hamiltonian import Hamiltonian
from mpiqmd.kohnsham.system import System
from mpiqmd.kohnsham.terms.term import LinearTerm
from mpiqmd.molecule.pseudopotential import Pseudopotential
from mpiqmd.parallel.comm import sum_over_ranks

WIDTH_IN_SPACINGS = 3.3
"""Smearing in units of the spacing: the Gaussian's spectrum is 1e-11 at the grid's Nyquist wave number."""
SMALLEST_WIDTH = 0.5
"""Smallest smearing, bohr."""


class LocalPotential:
    """``V(r) = Σ_a V_loc,a(r - R_a)`` for any positions of the ions.  Construction is collective.

    Parameters
    ----------
    grid
        The grid of the density.
    species
        Pseudopotentials by element.
    symbols
        Elements of the ions, in the order of their positions.
    poisson
        Poisson solver of that grid, whose Fourier basis holds the cores of a periodic cell.
    short
        Short-range parts of the species where they are made already.
    """

    name = "local"

    def __init__(
        self,
        grid: Grid,
        species: dict[str, Pseudopotential],
        symbols: tuple[str, ...],
        poisson: Poisson,
        short: dict[str, RadialFunction] | None = None,
    ) -> None:
        self.grid, self.species, self.poisson = grid, species, poisson
        spacing = float(grid.spacing_v.max())
        width = max(SMALLEST_WIDTH, WIDTH_IN_SPACINGS * spacing)
        self.short = short or {
            symbol: band_limited(*pseudo.short_range_local(width), 0, spacing) for symbol, pseudo in species.items()
        }
        self.functions = [self.short[symbol] for symbol in symbols]
        valences_a = np.array([species[symbol].valence for symbol in symbols])
        smeared = _PeriodicCores if grid.is_periodic else _FreeCores
        self.cores = smeared(grid, valences_a, width, poisson)

    @classmethod
    def of(cls, system: System) -> LocalPotential:
        """Return the term of a system.  Collective."""
        return cls(system.density_grid, system.pseudopotentials, system.molecule.symbols, system.density_poisson)

    def restricted(self, symbols: tuple[str, ...]) -> LocalPotential:
        """Return the potential of some of the ions alone, sharing the radial functions.  Not collective."""
        return LocalPotential(self.grid, self.species, symbols, self.poisson, self.short)

    @property
    def gaussians(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Exponents a (1/bohr²) and weights c (Ha), each (k,), of one ion's smeared core in free space.

        ``-Z erf(r/w) / r = Σ_k c_k exp(-a_k r²)`` to 1e-11 Ha as far as the cell reaches, by Gauss-Legendre quadrature of

            erf(r/w) / r = 2/√π ∫_0^{1/w} exp(-t² r²) dt.

        None in a periodic cell.  Not collective.
        """
        if not isinstance(self.cores, _FreeCores):
            return None
        reach = float(np.linalg.norm(self.grid.cell_v)) / self.cores.width
        nodes_k, weights_k = np.polynomial.legendre.leggauss(16 + int(np.ceil(reach)))
        slopes_k = 0.5 * (nodes_k + 1.0) / self.cores.width
        scale = -self.cores.valences_a[0] / (np.sqrt(np.pi) * self.cores.width)
        return slopes_k**2, scale * weights_k

    def at(self, positions_av: np.ndarray) -> PlacedLocalPotential:
        """Return the term with the ions at these positions, shape (N, 3), bohr.  Collective."""
        return PlacedLocalPotential(self, positions_av)

    def evaluate(self, positions_av: np.ndarray) -> Field:
        """Return the potential (Ha) of all ions.  Collective."""
        local = self.cores.potential_local(positions_av)
        add_placed(self.functions, self.grid, positions_av, local)
        return Field(self.grid, local)

    def gradient(self, positions_av: np.ndarray, density: Field) -> np.ndarray:
        """Return ``∂/∂R_a ∫ ρ V dr`` at fixed density, shape (N, 3), Ha/bohr.  Collective."""
        gradient_av = self.cores.gradient_local(positions_av, density)
        gradient_av += placed_gradient_local(self.functions, positions_av, density)
        return sum_over_ranks(self.grid.comm, gradient_av)


class PlacedLocalPotential(LinearTerm):
    """``E = ∫ ρ V_loc dr`` at one geometry.  Construction is collective."""

    def __init__(self, local: LocalPotential, positions_av: np.ndarray) -> None:
        self.local, self.positions_av = local, positions_av
        self.potential = local.evaluate(positions_av)

    def add_to(self, hamiltonian: Hamiltonian) -> None:
        """Add V_loc."""
        hamiltonian.add_potential(self.potential)

    def energy(self, electrons: Electrons) -> float:
        """Return ``∫ ρ V_loc dr``, Ha.  Collective."""
        return electrons.density.inner(self.potential)

    def gradient(self, electrons: Electrons) -> np.ndarray:
        """Return ``∂/∂R_a ∫ ρ V_loc dr`` at a fixed density, shape (N, 3), Ha/bohr.  Collective."""
        return self.local.gradient(self.positions_av, electrons.density)


class _FreeCores:
    """Smeared cores in free space: ``-Z erf(r/w)/r`` in closed form."""

    def __init__(self, grid: Grid, valences_a: np.ndarray, width: float, poisson: Poisson) -> None:
        self.grid, self.valences_a, self.width = grid, valences_a, width

    def potential_local(self, positions_av: np.ndarray) -> np.ndarray:
        """Return this rank's block of the cores' potential, shape (z, y, x), Ha.  Not collective."""
        total = np.zeros(self.grid.local_shape)
        for valence, position_v in zip(self.valences_a, positions_av, strict=True):
            add_smeared_coulomb(-valence, self.width, *self._displacements(position_v), total)
        return total

    def gradient_local(self, positions_av: np.ndarray, density: Field) -> np.ndarray:
        """Return this rank's share of ``∂/∂R_a ∫ ρ v dr``, shape (N, 3), Ha/bohr.  Not collective."""
        pulls = [smeared_coulomb_pull(self.width, *self._displacements(r), density.local) for r in positions_av]
        return self.grid.volume_element * self.valences_a[:, None] * np.array(pulls)

    def _displacements(self, position_v: np.ndarray) -> list[np.ndarray]:
        """Return the distances along z, y and x from a position to this rank's points."""
        return [axis.ravel() - centre for axis, centre in zip(self.grid.local_coordinates, position_v[::-1], strict=True)]


class _PeriodicCores:
    """Smeared cores and their images: products of 1-D Gaussians in the Fourier basis of the Poisson solver."""

    def __init__(self, grid: Grid, valences_a: np.ndarray, width: float, poisson: Poisson) -> None:
        self.grid, self.valences_a, self.width = grid, valences_a, width
        self.transform = poisson.periodic
        self.waves = periodic_waves(grid)
        self.constant = np.pi * width**2 * float(valences_a.sum()) / grid.volume

    def potential_local(self, positions_av: np.ndarray) -> np.ndarray:
        """Return this rank's block of the cores' potential, shape (z, y, x), Ha.  Collective."""
        modes = np.zeros(self.transform.diagonal_local.shape)
        for valence, position_v in zip(self.valences_a, positions_av, strict=True):
            z, y, x = (self._axis(axis, position_v[2 - axis])[0] for axis in range(3))
            modes -= valence * z[:, None, None] * (y[:, None] * x)
        modes *= self.transform.diagonal_local
        return self.transform.backward(modes[None])[0] + self.constant

    def gradient_local(self, positions_av: np.ndarray, density: Field) -> np.ndarray:
        """Return this rank's share of ``∂/∂R_a ∫ ρ v dr``, shape (N, 3), Ha/bohr.  Collective."""
        modes = self.transform.forward(density.local[None])[0] * self.transform.diagonal_local
        gradient_av = np.zeros_like(positions_av)
        for a, (valence, position_v) in enumerate(zip(self.valences_a, positions_av, strict=True)):
            (z, dz), (y, dy), (x, dx) = (self._axis(axis, position_v[2 - axis]) for axis in range(3))
            rows, slopes = modes @ x, modes @ dx
            pull = [z @ slopes @ y, z @ rows @ dy, dz @ rows @ y]
            gradient_av[a] = -valence * self.grid.volume_element * np.array(pull)
        return gradient_av

    def _axis(self, axis: int, centre: float) -> tuple[np.ndarray, np.ndarray]:
        """Return a 1-D periodic Gaussian's coefficients in the orthonormal Fourier basis and their d/d(centre)."""
        n, edge = self.grid.shape[axis], self.grid.cell_v[2 - axis]
        waves = self.waves[axis][self.transform.own_modes[axis]]
        rows = np.arange(n)[self.transform.own_modes[axis]]
        amplitude = np.exp(-((0.5 * waves * self.width) ** 2)) / edge
        amplitude *= np.where(rows == 0, np.sqrt(n), np.sqrt(2.0 * n))
        if n % 2 == 0:
            amplitude[rows == n - 1] = 0.0
        phase = waves * (-0.5 * edge - centre)
        is_cosine = (rows == 0) | (rows % 2 == 1)
        values = np.where(is_cosine, np.cos(phase), -np.sin(phase)) * amplitude
        slopes = np.where(is_cosine, np.sin(phase), np.cos(phase)) * amplitude * waves
        return values, slopes
