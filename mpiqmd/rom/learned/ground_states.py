"""Occupied subspaces that geometries reach: training orbitals, and reduced ground states on the grid at more geometries."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from mpiqmd.errors import ConfigError, ConvergenceError, GeometryError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.kohnsham.electrons import BRA_AND_KET, SPIN_WEIGHT
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.log import Log
from mpiqmd.rom.learned.core_tables import CoreFields
from mpiqmd.rom.learned.densities import DensityFunctions, products, where_it_matters
from mpiqmd.rom.learned.fitted_start import determined_polynomials, fit
from mpiqmd.rom.learned.grid_solve import GridEnergy, ResponseHessian, minimised
from mpiqmd.rom.learned.interaction import interaction
from mpiqmd.rom.learned.orbits import Orbits
from mpiqmd.rom.learned.reference import Reference, orthonormalised
from mpiqmd.rom.learned.species import Species, principal
from mpiqmd.rom.learned.training_set import TrainingSet

SOLVED = 1e-8
"""What a last step of the reduced ground states on the grid may gain, Ha; it is taken."""
LEAST_SPREAD = 1e-3
"""Spread of the training orbitals along a direction of occupied subspaces that counts, square roots of Ha."""


class GroundStates:
    """Geometries, and the reduced ground state at each, predicted in ``n_coordinates`` internal coordinates.

    Construction is collective.

    Attributes
    ----------
    modes
        The modes.
    species
        Symmetry species of the modes.
    reference
        Where coordinates of occupied subspaces start, at the training geometry ``centre_av``.
    positions, coordinates
        Geometries (N, 3), bohr, and occupied subspaces (y,), square roots of Ha; the training's come first.
    """

    def __init__(self, cores: CoreFields, modes: Orbitals, training: TrainingSet, n_coordinates: int, log: Log) -> None:
        self.cores, self.model, self.log = cores, cores.model, log
        model = cores.model
        self.training = training
        self.n_coordinates = n_coordinates
        self.modes, self.comm = model.space(modes), model.grid.comm
        self.centre_av = training.positions_sav[training.central]
        self.species = decide(self.comm, Species.of(training))
        central_mn = training.orbitals_smn[training.central]
        self.reference = Reference.at(model.place(self.centre_av), self.modes, central_mn, self.species)
        self.positions = list(training.positions_sav)
        self.coordinates = [self.reference.coordinates(each) for each in training.orbitals_smn]

    def principal(self, left_out: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the mean of the coordinates, (y,), and their principal directions (d, y), but for so much energy, Ha.

        With the symmetry species of every direction (d,), by which they are sorted; the mean is of the first.  Collective.
        """
        coordinates_sy, labels_y = np.array(self.coordinates), self.reference.labels_y
        mean_y = np.where(labels_y == 0, coordinates_sy.mean(axis=0), 0.0)
        values, directions, labels = principal(coordinates_sy - mean_y, labels_y)
        rest = 0.5 * np.cumsum(values[::-1] ** 2)[::-1] / len(coordinates_sy)
        kept = np.flatnonzero(rest > left_out)
        kept = kept[np.argsort(labels[kept], kind="stable")]
        return decide(self.comm, (mean_y, directions[kept], labels[kept]))

    def add(self, candidates: Iterator[np.ndarray], wanted: int) -> None:
        """Add so many reduced ground states at candidate geometries (N, 3), bohr, those that converge, and their images.

        Each is predicted from all before it.  Collective.
        """
        countdown = Countdown(self.log, wanted, "reduced ground state")
        # half the memory of the modes once more, which is not kept
        energy = GridEnergy(self.model, self.modes.orbitals, roughly=True)
        for positions_av in candidates:
            try:
                problem = self.model.place(positions_av)
                start_y = self._predicted(positions_av)
                _, found_y = minimised(energy, self.reference, problem, start_y, self._response, SOLVED)
            except (ConvergenceError, GeometryError):
                continue
            orbitals_mn, _ = orthonormalised(self.reference.spanning(found_y))
            for image_av, image_mn in self.training.images(positions_av, orbitals_mn):
                self.positions.append(image_av)
                self.coordinates.append(self.reference.coordinates(image_mn))
            countdown.advance()
            if countdown.done == wanted:
                return
        self.log(f"warning: {countdown.done} of {wanted} reduced ground states were found; the others did not converge")

    def _predicted(self, positions_av: np.ndarray) -> np.ndarray:
        polynomials = determined_polynomials(np.array(self.positions), self.n_coordinates, 1.9, self.species)
        coefficients = fit(polynomials, np.array(self.positions), np.array(self.coordinates), self.reference.labels_y)
        return decide(self.comm, (polynomials.terms(positions_av[None]) @ coefficients)[0])

    @cached_property
    def _response(self) -> ResponseHessian:
        """Return the curvature at the reference with the response along the directions of the training orbitals."""
        coordinates_sy = np.array(self.coordinates)
        values, directions, labels = principal(coordinates_sy - coordinates_sy.mean(axis=0), self.reference.labels_y)
        count = int(np.sum(values > LEAST_SPREAD))
        directions_dy, labels_d = decide(self.comm, (directions[:count], labels[:count]))
        if not len(directions_dy):
            raise ConfigError(
                f"rom.online = 'learned' with {len(self.modes)} modes of {len(self.positions)} geometries: their "
                "orbitals do not differ, and there is nothing to learn. Train on geometries that differ and keep more modes "
                "than there are orbitals, or use rom.online = 'grid'."
            )
        # what only makes steps needs few digits
        left = self.reference.occupied_mn.T[None].astype(np.float32)
        right = np.array([self.reference.change(direction_y).T for direction_y in directions_dy], np.float32)
        dense = self.modes.dense
        density = dense.combine(self.reference.occupied_mn).density(np.full(self.model.n_occupied, SPIN_WEIGHT))
        orbits = Orbits(dense.grid, where_it_matters(density), self.species)
        slopes = BRA_AND_KET * SPIN_WEIGHT * products(dense, left, right, orbits.first)[:, 0]
        functions = DensityFunctions(slopes, np.ones(len(slopes)), labels_d, orbits, density)
        return ResponseHessian(directions_dy, interaction(functions, self.cores, len(slopes), self.log))
