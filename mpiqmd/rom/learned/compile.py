"""From modes and training orbitals to a learned-grid model.  Distributed over the grid; the result is replicated.

latent directions   principal ones of training orbitals and of reduced ground states at more geometries
density functions   principal components of the densities and slopes that these reach
points              where the density functions are told apart, and those of the xc remainder
tables              what the moving ions' potentials are for the density functions
start               the finished model's own minima at many geometries, as a polynomial
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpiqmd.errors import ConfigError, ConvergenceError, GeometryError
from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.chosen_points import values_at
from mpiqmd.kohnsham.electrons import BRA_AND_KET, SPIN_WEIGHT, OrbitalSpace
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.hartree import Hartree
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.dense import eigh
from mpiqmd.parallel.log import Log, silent
from mpiqmd.rom.compiled.chebyshev import training_boxes
from mpiqmd.rom.compiled.compile import TrainingSet
from mpiqmd.rom.compiled.predictor import GeometryPolynomials, highest_degree
from mpiqmd.rom.learned.data import DipoleArrays, LearnedArrays, LearnedPoints, MovingIon, StartArrays, XcPoints
from mpiqmd.rom.learned.densities import DensityFunctions, density_functions, products, where_it_matters
from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.grid_solve import GridEnergy, ResponseHessian, minimised
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.one_electron import OneElectronArrays, along_motion
from mpiqmd.rom.learned.points import choose_points
from mpiqmd.rom.learned.reference import Reference
from mpiqmd.rom.learned.solver import LearnedSolver
from mpiqmd.rom.learned.tabulate import Seen, pinned_ions, tabulated_ion
from mpiqmd.rom.learned.xc_points import choose_xc_points
from mpiqmd.rom.learned.xc_remainder import expanded_share
from mpiqmd.sampling.mixtures import sample_geometries

BLOCK = 8
"""Potentials at a time."""
SOLVED = 1e-8
"""What a last step of the reduced ground states on the grid may gain, Ha; it is taken."""
MINIMA = 1e-11
"""The same for the minima that the start is fitted to."""
BATCH = 32
"""Minima that are looked for together."""
LEAST_SPREAD = 1e-3
"""Spread of the training orbitals along a direction of occupied subspaces that counts, square roots of Ha."""
SMALL_NODES = 7
"""Nodes of a small box."""


@dataclass(frozen=True)
class LearnSettings:
    """How finely to compile; errors are of energies, Ha.

    Attributes
    ----------
    solves
        Reduced ground states on the grid beyond the training orbitals.
    latent
        Mean energy that the latent directions may leave out.
    functions
        Singular value of the density functions down to which they are kept.
    responses
        The same for those whose interaction is kept.
    per_function
        Points for each density function.
    xc_points, xc_samples
        Points for the remainder of the xc energy, and densities that they are chosen by.
    densities, slopes
        Densities at predicted minima beyond those solved for, and slopes of the density in multiples of the latent directions.
    nodes, margin
        Chebyshev nodes per direction of an ion's box, and its room around the training positions, as a share of their range.
    tables
        What table entries may be left out.
    fit
        Most terms of the polynomial that predicts the minimum.
    seed
        Of every random choice.
    """

    solves: int = 60
    latent: float = 1e-10
    functions: float = 5e-6
    responses: float = 1e-4
    per_function: float = 2.0
    xc_points: int = 600
    xc_samples: int = 600
    densities: int = 300
    slopes: float = 3.0
    nodes: int = 11
    margin: float = 0.15
    tables: float = 1e-8
    fit: int = 924
    seed: int = 1


class LearnedCompiler:
    """Makes :class:`LearnedArrays`.  Construction is collective.

    Parameters
    ----------
    model
        The physics; its electronic temperature must be zero.
    modes
        Orthonormal modes.
    training
        Geometries and density matrices.
    frame
        The body frame, to align mixtures of training geometries.
    settings, log
        How finely, and where to report.
    """

    def __init__(
        self,
        model: KohnShamModel,
        modes: Orbitals,
        training: TrainingSet,
        frame: BodyFrame,
        settings: LearnSettings | None = None,
        log: Log | None = None,
    ) -> None:
        self.model, self.training, self.frame = model, training, frame
        self.settings, self.log = settings or LearnSettings(), log or silent(model.grid.comm)
        self.grid_energy = GridEnergy(model, modes)
        self.modes, self.comm = self.grid_energy.modes, model.grid.comm
        positions_sav = training.positions_sav
        nearest = training.central
        orbitals = [self._occupied(matrix) for matrix in training.density_matrices_smm]
        self.reference = Reference.at(model.place(positions_sav[nearest]), self.modes, orbitals[nearest])
        self.centre_av = positions_sav[nearest]
        self.positions = list(positions_sav)
        self.coordinates = [self.reference.coordinates(each) for each in orbitals]
        self.boxes = training_boxes(positions_sav, self.settings.nodes, SMALL_NODES, self.settings.margin)

    def compile(self) -> LearnedArrays:
        """Return the model.  Collective."""
        self._solve_more()
        subspaces, latent_sd, start = self._latent_directions()
        self.log(
            f"{len(subspaces)} latent directions over {subspaces.active_mk.shape[1]} of {len(self.modes)} modes, from "
            f"{len(self.positions)} geometries"
        )
        active = self.modes.combine(subspaces.active_mk)
        functions = self._functions(active.dense, subspaces, latent_sd, start)
        points, rotation_ff = self._learned_points(active.dense, functions)
        self.log(f"{len(functions)} density functions, {len(points.mean_q)} points")
        constant, one_electron, ions = self._ions(active, Seen(functions, rotation_ff, self.settings.tables))
        first_sd = self._predicted_latent(start, self.settings.xc_samples // 4, self.settings.seed + 4)
        xc = self._xc_points(active.dense, functions, subspaces, first_sd)
        dipole = _dipole(functions, rotation_ff, len(subspaces))
        arrays = LearnedArrays(subspaces, start, constant, one_electron, ions, self.boxes, points, xc, dipole)
        arrays, minima_sd = self._with_start(arrays)
        # now that minima are known, the quadrature is chosen by theirs, and the start by its minima
        xc = self._xc_points(active.dense, functions, subspaces, minima_sd[: self.settings.xc_samples])
        return self._with_start(replace(arrays, xc=xc))[0]

    def _functions(
        self, modes: Orbitals, subspaces: LatentSubspaces, latent_sd: np.ndarray, start: StartArrays
    ) -> DensityFunctions:
        """Return the density functions of solved and predicted minima, and of slopes there."""
        settings = self.settings
        predicted_sd = self._predicted_latent(start, settings.densities, settings.seed + 3)
        reached_sd, count = np.concatenate([latent_sd, predicted_sd]), int(settings.slopes * len(subspaces))
        return density_functions(modes, subspaces, reached_sd, count, settings.functions, settings.seed)

    def _learned_points(self, modes: Orbitals, functions: DensityFunctions) -> tuple[LearnedPoints, np.ndarray]:
        """Return the learned grid, and the rotation to the density functions that interact diagonally (f, f)."""
        interaction_f, rotation_ff = self._interaction(functions)
        chosen = choose_points(functions, self.settings.per_function)
        reading_fq = rotation_ff.T @ np.linalg.pinv(functions.at(chosen).T)
        modes_qk = values_at(modes.grid, modes.matrix_local, chosen).T.copy()
        mean_q = values_at(modes.grid, functions.mean.local.reshape(1, -1), chosen)[0]
        return LearnedPoints(modes_qk, mean_q, decide(self.comm, reading_fq), interaction_f), rotation_ff

    def _ions(self, active: OrbitalSpace, seen: Seen) -> tuple[float, OneElectronArrays, list[MovingIon]]:
        """Return the constant energy (Ha), what acts on the orbitals with whole matrices, and the moving ions' tables."""
        constant, constant_kk = self._expansion(seen.functions, active.dense)
        constant_kk += active.kinetic_matrix(self.model.laplacian)
        constant_kk += pinned_ions(self.model, active.dense, self.boxes)
        moving = [a for a, box in enumerate(self.boxes) if box.axes]
        countdown = Countdown(self.log, sum(len(self.boxes[a].nodes()) for a in moving), "point of the tables")
        found = [tabulated_ion(self.model, active.dense, seen, a, self.boxes[a], countdown) for a in moving]
        slopes_xkk = np.zeros((3 * len(self.boxes), *constant_kk.shape))
        for a, each in zip(moving, found, strict=True):
            constant_kk += each.mean_kk
            slopes_xkk[3 * a : 3 * a + 3] = each.slopes_vkk
        centre_x = np.array([0.5 * (box.lower_v + box.upper_v) for box in self.boxes]).ravel()
        one_electron = along_motion(constant_kk, slopes_xkk, centre_x, self.training.positions_sav)
        return constant, one_electron, [each.ion for each in found]

    def _occupied(self, density_matrix_mm: np.ndarray) -> np.ndarray:
        """Return the occupied natural orbitals over the modes, orthonormal columns."""
        _, vectors = eigh(self.comm, density_matrix_mm)
        return vectors[:, -self.model.n_occupied :]

    def _solve_more(self) -> None:
        """Add reduced ground states at mixtures of training geometries, each predicted from all before it."""
        settings, response = self.settings, self._response()
        candidates = iter(sample_geometries(self.training.positions_sav, self.frame, 4 * settings.solves, settings.seed, 1.0))
        countdown = Countdown(self.log, settings.solves, "reduced ground state")
        done = 0
        for positions_av in candidates:
            if done == settings.solves:
                break
            try:
                problem = self.model.place(positions_av)
                start_y = self._predicted(positions_av)
                _, found_y = minimised(self.grid_energy, self.reference, problem, start_y, response, SOLVED)
            except (ConvergenceError, GeometryError):
                continue
            self.positions.append(positions_av)
            self.coordinates.append(found_y)
            done += 1
            countdown.advance()
        if done < settings.solves:
            self.log(f"warning: {done} of {settings.solves} reduced ground states were found; the others did not converge")

    def _predicted(self, positions_av: np.ndarray) -> np.ndarray:
        polynomials = _polynomials(np.array(self.positions), 1.9)
        terms_st = polynomials.terms(np.array(self.positions))
        coefficients = np.linalg.lstsq(terms_st, np.array(self.coordinates), rcond=1e-10)[0]
        return decide(self.comm, (polynomials.terms(positions_av[None]) @ coefficients)[0])

    def _response(self) -> ResponseHessian:
        """Return the curvature at the reference with the response along the directions of the training orbitals."""
        coordinates_sy = np.array(self.coordinates)
        _, values, directions = np.linalg.svd(coordinates_sy - coordinates_sy.mean(axis=0), full_matrices=False)
        directions_dy = decide(self.comm, directions[: int(np.sum(values > LEAST_SPREAD))])
        if not len(directions_dy):
            raise ConfigError(
                f"rom.online = 'learned' with {len(self.modes)} modes of {len(self.training.positions_sav)} geometries: their "
                "orbitals do not differ, and there is nothing to learn. Train on geometries that differ and keep more modes "
                "than there are orbitals, or use rom.online = 'grid'."
            )
        origin = self.reference.occupied_mn.T[None]
        left = np.repeat(origin, len(directions_dy), axis=0)
        right = np.array([self.reference.change(direction_y).T for direction_y in directions_dy])
        dense = self.modes.dense
        density = dense.combine(self.reference.occupied_mn).density(np.full(self.model.n_occupied, SPIN_WEIGHT))
        points_local = where_it_matters(density)
        slopes = BRA_AND_KET * SPIN_WEIGHT * products(dense, left, right, points_local)
        functions = DensityFunctions(slopes, points_local, np.ones(len(slopes)), density, np.zeros((0, 0)))
        return ResponseHessian(directions_dy, self._interacting(functions, len(slopes)))

    def _interacting(self, functions: DensityFunctions, leading: int) -> np.ndarray:
        """Return ``<f|K|f'>``, Ha, K Hartree and xc kernel at the mean density, of leading functions with all, symmetric.

        Collective.
        """
        grid, mean = functions.grid, functions.mean
        xc, hartree = self.model.term(ExchangeCorrelation), self.model.term(Hartree)
        kernel = xc.kernel(mean, expanded_share(mean.local))
        matrix_ff = np.zeros((len(functions), len(functions)))
        countdown = Countdown(self.log, leading, "interaction of a density function")
        for start in range(0, leading, BLOCK):
            block = functions.block(slice(start, min(start + BLOCK, leading)))
            potentials = hartree.direct_potentials(block)
            for number in range(len(block)):
                potentials.local[number] += kernel.apply(Field(grid, block.local[number])).local
            matrix_ff[start : start + len(block)] = functions.overlaps(potentials)
            countdown.advance(count=len(block))
        matrix_ff[leading:, :leading] = matrix_ff[:leading, leading:].T
        return 0.5 * (matrix_ff + matrix_ff.T)

    def _latent_directions(self) -> tuple[LatentSubspaces, np.ndarray, StartArrays]:
        """Return the latent subspaces, the samples' latent coordinates, and a first start."""
        coordinates_sy, positions_sav = np.array(self.coordinates), np.array(self.positions)
        mean_y = coordinates_sy.mean(axis=0)
        _, values, directions = np.linalg.svd(coordinates_sy - mean_y, full_matrices=False)
        left_out = 0.5 * np.cumsum(values[::-1] ** 2)[::-1] / len(values)
        directions_dy = decide(self.comm, directions[: int(np.sum(left_out > self.settings.latent))])
        latent_sd = decide(self.comm, (coordinates_sy - mean_y) @ directions_dy.T)
        spanning_mn = decide(self.comm, self.reference.spanning(mean_y))
        changes_dmn = np.array([self.reference.change(direction_y) for direction_y in directions_dy])
        active_mk = self._active(spanning_mn, changes_dmn, np.abs(latent_sd).max(axis=0))
        directions_dnk = np.ascontiguousarray((changes_dmn.transpose(0, 2, 1)) @ active_mk)
        subspaces = LatentSubspaces(active_mk, np.ascontiguousarray(spanning_mn.T @ active_mk), directions_dnk)
        polynomials = _polynomials(positions_sav, 1.9)
        fitted_td = np.linalg.lstsq(polynomials.terms(positions_sav), latent_sd, rcond=1e-10)[0]
        start = StartArrays(
            polynomials.axes, polynomials.offset, polynomials.degree, decide(self.comm, fitted_td), np.eye(len(subspaces))
        )
        return subspaces, latent_sd, start

    def _predicted_latent(self, start: StartArrays, count: int, seed: int) -> np.ndarray:
        """Return latent coordinates of predicted minima at random geometries, shape (samples, d)."""
        positions_sav = sample_geometries(self.training.positions_sav, self.frame, count, seed)
        polynomials = GeometryPolynomials(start.axes_dx, start.offset_d, start.degree)
        return decide(self.comm, polynomials.terms(positions_sav) @ start.coefficients_td)

    def _active(self, spanning_mn: np.ndarray, changes_dmn: np.ndarray, sizes_d: np.ndarray) -> np.ndarray:
        """Return the combinations of modes that the subspaces need, orthonormal columns."""
        scaled = changes_dmn * sizes_d[:, None, None]
        columns = np.concatenate([spanning_mn, *scaled], axis=1)
        vectors, values, _ = np.linalg.svd(columns, full_matrices=False)
        # an orbital changed by δ changes an energy by about δ²
        return decide(self.comm, vectors[:, values > np.sqrt(self.settings.latent)])

    def _interaction(self, functions: DensityFunctions) -> tuple[np.ndarray, np.ndarray]:
        """Return the eigenvalues of K between the density functions (f,), Ha, and the rotation to its eigenvectors."""
        leading = int(np.sum(functions.singular_values_f > self.settings.responses))
        return eigh(self.comm, self._interacting(functions, leading))

    def _expansion(self, functions: DensityFunctions, modes: Orbitals) -> tuple[float, np.ndarray]:
        """Return what Hartree and xc energy of the mean density leave as constant (Ha), and their potential's matrix."""
        hartree, hartree_potential = self.model.term(Hartree).evaluate(functions.mean)
        xc, xc_potential = self.model.term(ExchangeCorrelation).evaluate(functions.mean)
        potential = Field(modes.grid, hartree_potential.local + xc_potential.local)
        return hartree + xc - functions.mean.inner(potential), modes.matrix_elements(potential)

    def _xc_points(
        self, modes: Orbitals, functions: DensityFunctions, subspaces: LatentSubspaces, latent_sd: np.ndarray
    ) -> XcPoints:
        settings = self.settings
        return choose_xc_points(
            self.model, modes, functions, subspaces, latent_sd, points=settings.xc_points, seed=settings.seed
        )

    def _with_start(self, arrays: LearnedArrays) -> tuple[LearnedArrays, np.ndarray]:
        """Return the model with the start fitted to its own minima, and those (samples, d).  Collective."""
        inverse_dd, dipole_slopes_vd = decide(self.comm, _responses(self._energy(arrays), self.centre_av))
        start, dipole = replace(arrays.start, inverse_hessian_dd=inverse_dd), replace(arrays.dipole, slopes_vd=dipole_slopes_vd)
        arrays = replace(arrays, start=start, dipole=dipole)
        positions_sav, latent_sd = self._minima(arrays)
        polynomials = _polynomials(positions_sav, 2.0, self.settings.fit)
        coefficients_td = np.linalg.lstsq(polynomials.terms(positions_sav), latent_sd, rcond=1e-12)[0]
        axes, offset, degree = polynomials.axes, polynomials.offset, polynomials.degree
        start = StartArrays(axes, offset, degree, coefficients_td, arrays.start.inverse_hessian_dd)
        return decide(self.comm, (replace(arrays, start=start), latent_sd))

    def _minima(self, arrays: LearnedArrays) -> tuple[np.ndarray, np.ndarray]:
        """Return random geometries inside the tables (samples, N, 3), bohr, and the model's minima there (samples, d)."""
        solver = LearnedSolver(self._energy(arrays), tolerance=MINIMA)
        count = int(2.1 * self.settings.fit) + 40
        samples_sav = sample_geometries(self.training.positions_sav, self.frame, count, self.settings.seed + 2)
        positions, latent = [], []
        countdown = Countdown(self.log, len(samples_sav), "minimum for the start")
        for first in range(0, len(samples_sav), BATCH):
            placed = solver.energy.place_batch(samples_sav[first : first + BATCH])
            minima = solver.solve_batch(placed)
            good = [b for b in range(len(minima.gaps_b)) if b not in minima.failures and placed.excess[b] <= 0.0]
            positions.append(placed.positions_bav[good])
            latent.append(minima.latent_bd[good, : len(arrays.subspaces)])
            countdown.advance(count=len(minima.gaps_b))
        return np.concatenate(positions), np.concatenate(latent)

    def _energy(self, arrays: LearnedArrays) -> LearnedEnergy:
        model = self.model
        return LearnedEnergy(arrays, model.functional, model.valences_a, model.grid.periodic_cell_v)


def _polynomials(positions_sav: np.ndarray, oversampling: float, most: int = 924) -> GeometryPolynomials:
    """Return polynomials of the highest degree that so many geometries determine."""
    spanning = GeometryPolynomials.spanning(positions_sav)
    terms = min(most, int(len(positions_sav) / oversampling))
    return GeometryPolynomials(spanning.axes, spanning.offset, highest_degree(len(spanning.axes), max(1, terms)))


def _responses(energy: LearnedEnergy, positions_av: np.ndarray, displacement: float = 1e-4) -> tuple[np.ndarray, np.ndarray]:
    """Return what changes with the latent coordinates at a geometry's predicted minimum.

    That is the inverse second derivative of the energy (d, d), and the derivative of ``∫ r ρ dr`` (3, d).
    """
    size, solver, placed = (
        len(energy.arrays.subspaces),
        LearnedSolver(energy, tolerance=1e-10),
        energy.place_batch(positions_av[None]),
    )
    latent_d = solver.solve_batch(placed).latent_bd[0]
    hessian_dd, dipole_slopes_vd = np.empty((size, size)), np.empty((3, size))
    for d in range(size):
        moved = np.stack([latent_d, latent_d])
        moved[0, d] += displacement
        moved[1, d] -= displacement
        after, before = (energy.evaluate(placed, each[None]) for each in moved)
        hessian_dd[d] = (after.slopes_bd[0, :size] - before.slopes_bd[0, :size]) / (2.0 * displacement)
        charges_f = (after.charges_bf[0] - before.charges_bf[0]) / (2.0 * displacement)
        functions_vf = energy.arrays.dipole.functions_vf
        dipole_slopes_vd[:, d] = functions_vf @ charges_f[: functions_vf.shape[1]]
    return np.linalg.inv(0.5 * (hessian_dd + hessian_dd.T)), dipole_slopes_vd


def _dipole(functions: DensityFunctions, rotation_ff: np.ndarray, latent: int) -> DipoleArrays:
    """Return what dipole moments are made from, without what the latent coordinates change.  Collective."""
    grid = functions.grid
    z, y, x = grid.local_coordinates
    axes = Orbitals(grid, np.stack([np.broadcast_to(axis, grid.local_shape) for axis in (x, y, z)]))
    mean_v = axes.gram(Orbitals(grid, functions.mean.local[None]))[:, 0]
    return DipoleArrays(mean_v, functions.overlaps(axes) @ rotation_ff, np.zeros((3, latent)))
