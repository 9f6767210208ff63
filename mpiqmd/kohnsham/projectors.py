"""The nonlocal pseudopotential in separable (Kleinman-Bylander) form.

    V_nl = Σ_a Σ_lm Σ_pq |β_ap,lm> D_pq <β_aq,lm|,     β_ap,lm(r) = χ_p(|r - R_a|) Y_lm(r - R_a)

with real spherical harmonics and band-limited radial functions.  The projectors of an atom live in a box around it;
overlaps ``<φ_i|β_p>`` are replicated, so the energy, the operator and the forces are small dense products of them.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import block_diag

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.harmonics import solid_harmonic_gradients, solid_harmonics
from mpiqmd.grid.radial import RadialFunction, band_limited
from mpiqmd.grid.support import Box, boxes
from mpiqmd.molecule.pseudopotential import Pseudopotential
from mpiqmd.parallel.comm import sum_over_ranks


class SpeciesProjectors:
    """The projectors of one species: radial functions, ordered by (l, radial index, m), and their coupling.

    Not collective; identical on every rank.

    Parameters
    ----------
    pseudo
        The pseudopotential.
    spacing
        Largest spacing of the grid, bohr.

    Attributes
    ----------
    coupling_pp
        D, Ha.
    radius
        Beyond it all projectors are zero, bohr.
    """

    def __init__(self, pseudo: Pseudopotential, spacing: float) -> None:
        self.radial: list[RadialFunction] = []
        couplings = []
        for channel in pseudo.channels:
            for projector_r in channel.projectors_pr:
                self.radial.append(band_limited(pseudo.mesh_r, projector_r, channel.l, spacing))
            couplings.append(np.kron(channel.coupling_pp, np.eye(2 * channel.l + 1)))
        self.coupling_pp = block_diag(*couplings) if couplings else np.zeros((0, 0))
        self.radius = max((function.radius for function in self.radial), default=0.0)

    def __len__(self) -> int:
        return len(self.coupling_pp)

    def values(self, box: Box) -> np.ndarray:
        """Return β_p on a box, shape (projectors, points), bohr^-3/2.  Not collective."""
        distances = box.distances
        rows = []
        for function in self.radial:
            reduced = function.reduced(distances)
            rows += [reduced * s for s in solid_harmonics(function.angular_momentum, box.x, box.y, box.z)]
        return np.stack(rows).reshape(len(self), -1)

    def gradients(self, box: Box) -> np.ndarray:
        """Return ``∂β_p/∂r`` on a box, shape (3, projectors, points), bohr^-5/2.  Not collective."""
        distances = np.maximum(box.distances, 1e-12)
        rows = []
        for function in self.radial:
            reduced, slope = function.reduced(distances), function.reduced_derivative(distances) / distances
            order = function.angular_momentum
            angular = solid_harmonics(order, box.x, box.y, box.z)
            derivatives = solid_harmonic_gradients(order, box.x, box.y, box.z)
            for s, ds in zip(angular, derivatives, strict=True):
                radial = slope * s
                rows.append([radial * r + reduced * d for r, d in zip((box.x, box.y, box.z), ds, strict=True)])
        return np.array(rows).reshape(len(self), 3, -1).transpose(1, 0, 2)


class Projectors:
    """All projectors of a molecule at given positions.  Construction is not collective.

    Parameters
    ----------
    grid
        The grid of the density.
    species
        Projectors by element.
    symbols, positions_av
        Elements and positions (N, 3), bohr, of the nuclei.

    Attributes
    ----------
    coupling_pp
        D of all of them, block by block, Ha.
    """

    def __init__(
        self,
        grid: Grid,
        species: dict[str, SpeciesProjectors],
        symbols: tuple[str, ...],
        positions_av: np.ndarray,
    ) -> None:
        self.grid = grid
        self.coupling_pp = block_diag(*[species[symbol].coupling_pp for symbol in symbols])
        self._atoms: list[tuple[slice, SpeciesProjectors, list[tuple[Box, np.ndarray]]]] = []
        first = 0
        for symbol, position_v in zip(symbols, positions_av, strict=True):
            kind = species[symbol]
            if len(kind):
                placed = [(box, kind.values(box)) for box in boxes(grid, position_v, kind.radius)]
                self._atoms.append((slice(first, first + len(kind)), kind, placed))
            else:
                self._atoms.append((slice(first, first), kind, []))
            first += len(kind)
        self.count = first

    def overlaps(self, orbitals: Orbitals) -> np.ndarray:
        """Return ``<φ_i|β_p>``, shape (n, projectors), without unit.  Collective."""
        local = np.zeros((len(orbitals), self.count))
        for columns, _, placed in self._atoms:
            for box, values in placed:
                local[:, columns] += _inside(orbitals, box) @ values.T
        return self.grid.volume_element * sum_over_ranks(self.grid.comm, local)

    def add_applied(self, overlaps_np: np.ndarray, result_local: np.ndarray) -> None:
        """Add ``V_nl φ_i`` to a local block, given ``<φ_i|β_p>``.  Not collective."""
        weights = overlaps_np @ self.coupling_pp
        for columns, _, placed in self._atoms:
            for box, values in placed:
                target = result_local[(slice(None), *box.slices)]
                target += (weights[:, columns] @ values).reshape(target.shape)

    def matrix(self, overlaps_np: np.ndarray) -> np.ndarray:
        """Return ``<φ_i|V_nl|φ_j>``, symmetric, shape (n, n), Ha, given ``<φ_i|β_p>``.  Not collective."""
        matrix = overlaps_np @ self.coupling_pp @ overlaps_np.T
        return 0.5 * (matrix + matrix.T)

    def gradient(self, orbitals: Orbitals, weights_np: np.ndarray) -> np.ndarray:
        """Return ``Σ_ip W_ip ∂<φ_i|β_p>/∂R_a`` at fixed orbitals, shape (N, 3), in the unit of W per bohr.  Collective."""
        gradient_av = np.zeros((len(self._atoms), 3))
        for a, (columns, kind, placed) in enumerate(self._atoms):
            for box, _ in placed:
                inside = _inside(orbitals, box)
                for v, derivative in enumerate(kind.gradients(box)):
                    slopes = -(inside @ derivative.T) * self.grid.volume_element
                    gradient_av[a, v] += float(np.sum(slopes * weights_np[:, columns]))
        return sum_over_ranks(self.grid.comm, gradient_av)


def _inside(orbitals: Orbitals, box: Box) -> np.ndarray:
    """Return the orbitals on a box, shape (n, points)."""
    return orbitals.local[(slice(None), *box.slices)].reshape(len(orbitals), -1)
