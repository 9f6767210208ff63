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

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.chosen_points import values_at
from mpiqmd.kohnsham.electrons import OrbitalSpace
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.dense import eigh
from mpiqmd.parallel.log import Log, silent
from mpiqmd.rom.learned.balance import BalanceSettings, balanced
from mpiqmd.rom.learned.chebyshev import training_boxes
from mpiqmd.rom.learned.core_tables import CoreFields
from mpiqmd.rom.learned.data import DipoleArrays, LearnedArrays, LearnedPoints, MovingIon, StartArrays, XcPoints
from mpiqmd.rom.learned.densities import ChargedFunctions, DensityFunctions, density_functions
from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.fitted_start import MOST_TERMS, StartFit, determined_polynomials
from mpiqmd.rom.learned.ground_states import GroundStates
from mpiqmd.rom.learned.interaction import interaction, mean_field
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.one_electron import OneElectronArrays, along_motion
from mpiqmd.rom.learned.points import choose_points
from mpiqmd.rom.learned.polynomials import GeometryPolynomials
from mpiqmd.rom.learned.tabulate import Seen, pinned_ions, tabulated_ion
from mpiqmd.rom.learned.training_set import TrainingSet
from mpiqmd.rom.learned.xc_points import Reached, choose_xc_points
from mpiqmd.sampling.mixtures import sample_geometries

USUAL_ERROR = 5e-8
"""Energy that the default settings leave out, Ha, about."""
INDEPENDENT = 0.3
"""Least length of a combination of latent directions of length one over the modes that are kept."""
DRAFT_TERMS = 715
"""Most terms of the polynomial of a first model: degree 5 in 6 coordinates, 4 in 9."""
DRAFT_MINIMA = 1000
"""Its minima, at least: by them it is seen what is needed."""
STATES_PER_DIRECTION = 2.0
"""Ground states for each latent direction, at least."""
AT_ONCE = 10
"""Reduced ground states that are solved before it is looked at again."""
SAMPLES_PER_DIRECTION, POINTS_PER_SAMPLE = 2.5, 0.4
"""Samples of the xc energy for each latent direction, and points for each of them, where that is more than the settings say."""


@dataclass(frozen=True)
class LearnSettings:
    """How finely to compile; errors are of energies, Ha.

    Attributes
    ----------
    geometries, solves
        Ground states to learn from, at least, and how many reduced ones may be solved on the grid where training orbitals and
        their images are fewer, or few for so many latent directions.
    latent
        Mean energy that the latent directions may leave out.
    active
        The same for the combinations of modes in which these lie.
    functions
        Singular value of the density functions down to which they are kept.
    responses
        The same for those whose interaction is kept.
    per_function
        Points for each density function.
    xc_points, xc_samples
        Points for the remainder of the xc energy, at most, and densities that they are chosen by; more of both where there are
        many latent directions.
    densities, slopes
        Densities at ground states, predicted ones where there are fewer, and slopes of the density in multiples of the latent
        directions.
    nodes, margin
        Fewest Chebyshev nodes per direction of an ion's box, and its room around the training positions, share of their range.
    tables
        What table entries may be left out.
    fit
        Most terms of the polynomial that predicts the minimum.
    gap
        How far above the minimum it may be, in the mean; fewer terms are enough where it is not.
    seed
        Of every random choice.
    """

    geometries: int = 220
    solves: int = 60
    latent: float = USUAL_ERROR
    active: float = 1e-7
    functions: float = 5e-6
    responses: float = 1e-4
    per_function: float = 2.0
    xc_points: int = 600
    xc_samples: int = 600
    densities: int = 460
    slopes: float = 3.0
    nodes: int = 7
    margin: float = 0.15
    tables: float = 1e-8
    fit: int = MOST_TERMS
    gap: float = 1e-8
    seed: int = 1

    def scaled(self, share: float) -> LearnSettings:
        """Return what leaves out so many times the energy, about.  Not collective."""
        more = max(1.0, share**-0.25)
        return replace(
            self,
            latent=share * self.latent,
            active=share * self.active,
            functions=float(np.sqrt(share)) * self.functions,
            gap=share * self.gap,
            densities=int(more * self.densities),
            xc_points=int(more * self.xc_points),
            xc_samples=int(more * self.xc_samples),
        )


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
        self.boxes = training_boxes(training.positions_sav, self.settings.nodes, self.settings.margin)
        self.cores = CoreFields(model, self.boxes)
        self.states = GroundStates(self.cores, modes, training, frame.n_coordinates, self.log)
        self.modes, self.comm = self.states.modes, model.grid.comm

    def compile(self) -> LearnedArrays:
        """Return the model.  Collective."""
        settings = self.settings
        self._see_enough()
        subspaces, latent_sd, start = self._latent_directions()
        self.log(
            f"{len(subspaces)} latent directions over {subspaces.active_mk.shape[1]} of {len(self.modes)} modes, from "
            f"{len(self.states.positions)} geometries; up to {self._memory(subspaces) / 1e9:.2g} GB a rank from here on"
        )
        active = self.modes.combine(subspaces.active_mk)
        functions = self._functions(active.dense, subspaces, latent_sd, start)
        arrays, rotation_ff = self._draft(active, functions, subspaces, start)
        fit = self._start_fit(min(settings.fit, DRAFT_TERMS), least=min(5 * settings.fit, DRAFT_MINIMA))
        arrays, minima_sav, minima_sd = fit.fitted(arrays)
        # now that minima are known, only what they need is kept, and the quadrature is chosen by them
        arrays, combinations_fa = on_rank_zero(
            self.comm, balanced, fit.make_energy(arrays), minima_sav, minima_sd, BalanceSettings(seed=settings.seed)
        )
        self.log(f"{len(arrays.points.interaction_f)} of them and {len(arrays.points.mean_q)} points are enough at minima")
        charged = ChargedFunctions(functions, rotation_ff @ combinations_fa)
        samples_sav, samples_sd = self._xc_samples(latent_sd, minima_sav, minima_sd)
        reached = Reached.of(subspaces, arrays.points, samples_sav, samples_sd, settings.seed)
        xc = self._xc_points(active.dense, charged, reached)
        return self._start_fit(settings.fit, settings.gap).fitted(replace(arrays, xc=xc))[0]

    def _see_enough(self) -> None:
        """Add reduced ground states until there are several for each latent direction, or as many as the settings allow.

        Where there are few, the directions are those of the geometries that happen to be there, not of the molecule.
        """
        settings, states = self.settings, self.states
        candidates = iter(self._samples(4 * settings.solves, settings.seed, 1.0))
        for solved in range(0, settings.solves, AT_ONCE):
            directions = len(states.principal(settings.latent)[1])
            if len(states.positions) >= max(settings.geometries, STATES_PER_DIRECTION * directions):
                break
            states.add(candidates, min(AT_ONCE, settings.solves - solved))

    def _draft(
        self, active: OrbitalSpace, functions: DensityFunctions, subspaces: LatentSubspaces, start: StartArrays
    ) -> tuple[LearnedArrays, np.ndarray]:
        """Return a first model, with all functions, and the rotation to those that its charges are of (f, f).  Collective."""
        settings = self.settings
        points, rotation_ff = self._learned_points(active.dense, functions)
        self.log(f"{len(functions)} density functions, {len(points.mean_q)} points")
        constant, one_electron, ions = self._ions(active, Seen(functions, rotation_ff, settings.tables, self.cores))
        first_sav, first_sd = self._predicted_latent(start, settings.xc_samples // 4, settings.seed + 4)
        reached = Reached.of(subspaces, points, first_sav, first_sd, settings.seed)
        xc = self._xc_points(active.dense, ChargedFunctions(functions, rotation_ff), reached)
        dipole = _dipole(functions, rotation_ff, len(subspaces))
        cores = self.cores.moving
        return LearnedArrays(subspaces, start, constant, one_electron, ions, self.boxes, points, xc, dipole, cores), rotation_ff

    def _memory(self, subspaces: LatentSubspaces) -> float:
        """Return what modes and samples of the density take on this rank at most, bytes."""
        samples = self.settings.densities + self.settings.slopes * len(subspaces)
        active, dense = subspaces.active_mk.shape[1], self.model.density_grid.local_size
        own = np.dtype(float).itemsize * (len(self.modes) + active) * self.model.grid.local_size
        # functions are kept beside a part of the samples that they are combined from
        return own + 1.2 * np.dtype(np.float32).itemsize * samples * dense + np.dtype(float).itemsize * active * dense

    def _samples(self, count: int, seed: int, *reach: float) -> np.ndarray:
        """Return random mixtures of training geometries, shape (samples, N, 3), bohr."""
        return sample_geometries(self.training.positions_sav, self.frame, count, seed, *reach)

    def _start_fit(self, terms: int, gap: float = 0.0, least: int = 0) -> StartFit:
        """Return what fits a polynomial of at most so many terms to minima, to within a gap (Ha)."""
        model, n_coordinates = self.model, self.frame.n_coordinates

        def make_energy(arrays: LearnedArrays) -> LearnedEnergy:
            return LearnedEnergy(arrays, model.functional, model.valences_a, model.grid.periodic_cell_v)

        def draw(count: int) -> np.ndarray:
            return self._samples(count, self.settings.seed + 2)

        return StartFit(
            make_energy, self.states.centre_av, draw, n_coordinates, terms, gap=gap, least=least, comm=self.comm, log=self.log
        )

    def _functions(
        self, modes: Orbitals, subspaces: LatentSubspaces, latent_sd: np.ndarray, start: StartArrays
    ) -> DensityFunctions:
        """Return the density functions of solved and predicted minima, and of slopes there."""
        settings = self.settings
        count = int(settings.slopes * len(subspaces))
        found_sd = _some(latent_sd, settings.densities, settings.seed)
        _, predicted_sd = self._predicted_latent(start, settings.densities - len(found_sd), settings.seed + 3)
        reached_sd = np.concatenate([found_sd, predicted_sd])
        return density_functions(modes, subspaces, reached_sd, count, settings.functions, settings.seed)

    def _learned_points(self, modes: Orbitals, functions: DensityFunctions) -> tuple[LearnedPoints, np.ndarray]:
        """Return the learned grid, and the rotation to the density functions that interact diagonally (f, f)."""
        leading = int(np.sum(functions.singular_values_f > self.settings.responses))
        interaction_f, rotation_ff = eigh(self.comm, interaction(functions, self.cores, leading, self.log))
        chosen = choose_points(functions, self.settings.per_function)
        reading_fq = rotation_ff.T @ np.linalg.pinv(functions.at(chosen).T)
        modes_qk = values_at(modes.grid, modes.matrix_local, chosen).T.copy()
        mean_q = values_at(modes.grid, functions.mean.local.reshape(1, -1), chosen)[0]
        return LearnedPoints(modes_qk, mean_q, decide(self.comm, reading_fq), interaction_f), rotation_ff

    def _ions(self, active: OrbitalSpace, seen: Seen) -> tuple[float, OneElectronArrays, list[MovingIon]]:
        """Return the constant energy (Ha), what acts on the orbitals with whole matrices, and the moving ions' tables."""
        constant, potential = mean_field(seen.functions.mean, self.cores)
        constant_kk = active.dense.matrix_elements(potential)
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
        moved_sav, n_coordinates = self.training.positions_sav, self.frame.n_coordinates
        one_electron = along_motion(constant_kk, slopes_xkk, centre_x, moved_sav, n_coordinates)
        return constant, one_electron, [each.ion for each in found]

    def _latent_directions(self) -> tuple[LatentSubspaces, np.ndarray, StartArrays]:
        """Return the latent subspaces, the samples' latent coordinates, and a first start."""
        coordinates_sy, positions_sav = np.array(self.states.coordinates), np.array(self.states.positions)
        mean_y, directions_dy = self.states.principal(self.settings.latent)
        latent_sd = decide(self.comm, (coordinates_sy - mean_y) @ directions_dy.T)
        spanning_mn = decide(self.comm, self.states.reference.spanning(mean_y))
        changes_dmn = np.array([self.states.reference.change(direction_y) for direction_y in directions_dy])
        active_mk = self._active(spanning_mn, changes_dmn, np.sqrt(np.mean(latent_sd**2, axis=0)))
        directions_dnk = np.ascontiguousarray((changes_dmn.transpose(0, 2, 1)) @ active_mk)
        subspaces = LatentSubspaces(active_mk, np.ascontiguousarray(spanning_mn.T @ active_mk), directions_dnk)
        polynomials = determined_polynomials(positions_sav, self.frame.n_coordinates, 1.9)
        fitted_td = np.linalg.lstsq(polynomials.terms(positions_sav), latent_sd, rcond=1e-10)[0]
        start = StartArrays(
            polynomials.axes, polynomials.offset, polynomials.degree, decide(self.comm, fitted_td), np.eye(len(subspaces))
        )
        return subspaces, latent_sd, start

    def _predicted_latent(self, start: StartArrays, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return random geometries (samples, N, 3), bohr, and latent coordinates of predicted minima there (samples, d)."""
        positions_sav = self._samples(count, seed)
        polynomials = GeometryPolynomials(start.axes_dx, start.offset_d, start.degree)
        return positions_sav, decide(self.comm, polynomials.terms(positions_sav) @ start.coefficients_td)

    def _active(self, spanning_mn: np.ndarray, changes_dmn: np.ndarray, sizes_d: np.ndarray) -> np.ndarray:
        """Return the combinations of modes that the subspaces need, orthonormal columns, given what z amounts to."""
        columns = np.concatenate([spanning_mn, *(changes_dmn * sizes_d[:, None, None])], axis=1)
        vectors, values, _ = np.linalg.svd(self.states.reference.weighed(columns), full_matrices=False)
        count = int(np.sum(0.5 * np.cumsum(values[::-1] ** 2)[::-1] > self.settings.active))
        while True:
            active_mk = np.linalg.qr(self.states.reference.weighed(vectors[:, :count], power=-1.0))[0]
            if count >= vectors.shape[1] or self._are_independent(active_mk, changes_dmn):
                return decide(self.comm, active_mk)
            count += 1 + count // 10

    def _are_independent(self, active_mk: np.ndarray, changes_dmn: np.ndarray) -> bool:
        """Return whether latent directions, which are orthonormal, are far from dependent where combinations are left out."""
        seen_dmn = np.einsum("mk,lk,dln->dmn", active_mk, active_mk, changes_dmn, optimize=True)
        columns_mc = seen_dmn.transpose(1, 0, 2).reshape(len(active_mk), -1)
        weighed_md = self.states.reference.weighed(columns_mc).reshape(len(active_mk), len(changes_dmn), -1)
        rows_dy = weighed_md.transpose(1, 0, 2).reshape(len(changes_dmn), -1)
        return decide(self.comm, bool(np.linalg.svd(rows_dy, compute_uv=False)[-1] > INDEPENDENT))

    def _xc_samples(
        self, latent_sd: np.ndarray, minima_sav: np.ndarray, minima_sd: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return geometries (samples, N, 3), bohr, and latent coordinates (samples, d) where the xc remainder shall be right.

        Half are those of the training, which are farther out than minima at mixtures of them.
        """
        count = max(self.settings.xc_samples, int(SAMPLES_PER_DIRECTION * latent_sd.shape[1]))
        positions_sav, seed = np.array(self.states.positions), self.settings.seed
        learned_sav, learned_sd = (_some(each, count // 2, seed) for each in (positions_sav, latent_sd))
        missing = count - len(learned_sd)
        return np.concatenate([learned_sav, minima_sav[:missing]]), np.concatenate([learned_sd, minima_sd[:missing]])

    def _xc_points(self, modes: Orbitals, charged: ChargedFunctions, reached: Reached) -> XcPoints:
        points = max(self.settings.xc_points, int(POINTS_PER_SAMPLE * len(reached.charges_sa)))
        return choose_xc_points(self.cores, modes, charged, reached, points=points, seed=self.settings.seed)


def _some(samples: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return so many of the samples (s, ...), drawn at random, or all; in their own unit.  Not collective."""
    return samples[np.random.default_rng(seed).permutation(len(samples))[:count]]


def _dipole(functions: DensityFunctions, rotation_ff: np.ndarray, latent: int) -> DipoleArrays:
    """Return what dipole moments are made from, without what the latent coordinates change.  Collective."""
    grid = functions.grid
    z, y, x = grid.local_coordinates
    axes = Orbitals(grid, np.stack([np.broadcast_to(axis, grid.local_shape) for axis in (x, y, z)]))
    mean_v = axes.gram(Orbitals(grid, functions.mean.local[None]))[:, 0]
    return DipoleArrays(mean_v, functions.overlaps(axes) @ rotation_ff, np.zeros((3, latent)))
