"""From modes and training orbitals to a learned-grid model.  Distributed over the grid; the result is replicated.

latent directions   principal ones of training orbitals and of reduced ground states at more geometries
density functions   principal components of the densities and slopes that these reach
points              where the density functions are told apart, and those of the xc remainder
tables              what the moving ions' potentials are for the density functions
first order         what points tell of that of the potentials, once they are chosen
start               the finished model's own minima at many geometries, as a polynomial
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

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
from mpiqmd.rom.learned.balance import BalanceSamples, BalanceSettings, balanced, with_nearby
from mpiqmd.rom.learned.chebyshev import corners, training_boxes
from mpiqmd.rom.learned.coordinates import suitable
from mpiqmd.rom.learned.core_tables import CoreFields
from mpiqmd.rom.learned.data import LearnedArrays, LearnedPoints, MovingIon, StartArrays, XcPoints
from mpiqmd.rom.learned.densities import ChargedFunctions, DensityFunctions, density_functions, dipole_of
from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.equivalent_ions import equivalent, image_of
from mpiqmd.rom.learned.first_order import FirstOrderArrays
from mpiqmd.rom.learned.first_order_fit import samples_needed, with_first_order_read
from mpiqmd.rom.learned.fitted_start import StartFit
from mpiqmd.rom.learned.ground_states import GroundStates
from mpiqmd.rom.learned.interaction import interaction, mean_field
from mpiqmd.rom.learned.latent_directions import LatentFound, latent_directions
from mpiqmd.rom.learned.learn_settings import LearnSettings
from mpiqmd.rom.learned.node_sums import Seen, smeared_sums
from mpiqmd.rom.learned.one_electron import OneElectronArrays, along_motion
from mpiqmd.rom.learned.points import choose_points
from mpiqmd.rom.learned.polynomials import predicted
from mpiqmd.rom.learned.species import blocks_of, eigh_of_blocks, parity
from mpiqmd.rom.learned.tabulate import Tabulated, pinned_ions, tabulated_ion, with_projectors
from mpiqmd.rom.learned.training_set import TrainingSet
from mpiqmd.rom.learned.xc_points import Reached, Sampled, choose_xc_points
from mpiqmd.rom.snapshots import SAME_GEOMETRY
from mpiqmd.sampling.mixtures import normal_geometries, sample_geometries

SATURATED = 0.8
"""Latent directions for each geometry beyond which geometries are what limits them: errors of the form are far larger then."""
DRAFT_TERMS = 715
"""Most terms of the polynomial of a first model: degree 5 in 6 coordinates, 4 in 9."""
DRAFT_MINIMA = 1000
"""Its minima, at least: by them it is seen what is needed."""
SAMPLES_PER_DIRECTION, POINTS_PER_SAMPLE = 2.5, 0.4
"""Samples of the xc energy for each latent direction, and points for each of them, where that is more than the settings say."""

FUNCTIONS_PER_DIRECTION = 3.5
"""Density functions for each latent direction, about."""


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
        found = latent_directions(self.states, iter(self._candidates()), settings)
        subspaces = found.subspaces
        self.log(
            f"{len(subspaces)} latent directions over {subspaces.active_mk.shape[1]} of {len(self.modes)} modes, from "
            f"{len(self.states.positions)} geometries; up to {self._memory(found) / 1e9:.2g} GB a rank from here on"
        )
        if len(subspaces) > SATURATED * len(self.states.positions):
            self.log("nearly as many latent directions as geometries: more of these (train.count) would show more directions")
        with self.modes.combined_in_place(subspaces.active_mk) as active:
            return self._learned(active, found)

    def _learned(self, active: OrbitalSpace, found: LatentFound) -> LearnedArrays:
        """Return the model over the active modes.  Collective."""
        settings, subspaces = self.settings, found.subspaces
        functions = self._functions(active.dense, found)
        arrays, charged = self._draft(active, functions, found)
        fit = self._start_fit(found.labels_d, min(settings.fit, DRAFT_TERMS), least=min(5 * settings.fit, DRAFT_MINIMA))
        arrays, minima_sav, minima_sd = fit.fitted(arrays)
        # now that minima are known, only what they and the ground states need is kept, and the quadrature is chosen by them
        minima, learned = (minima_sav, minima_sd), self._distinct(found)
        samples = self._balance_samples(active.dense, charged, found, minima, learned)
        arrays, combinations_fa = on_rank_zero(self.comm, balanced, fit.make_energy(arrays), samples, BalanceSettings())
        self.log(f"{len(arrays.points.interaction_f)} of them and {len(arrays.points.mean_q)} points are enough at minima")
        charged = ChargedFunctions(functions, charged.combinations_fa @ combinations_fa, arrays.points.labels_f)
        sampled = self._xc_samples(minima, learned)
        reached = Reached.of(subspaces, arrays.points, arrays.start, sampled, settings.seed)
        xc = self._xc_points(active.dense, found.labels_k, charged, reached)
        arrays = self._with_first_order_read(arrays, found)
        return self._start_fit(found.labels_d, settings.fit, settings.gap).fitted(replace(arrays, xc=xc))[0]

    def _draft(
        self, active: OrbitalSpace, functions: DensityFunctions, found: LatentFound
    ) -> tuple[LearnedArrays, ChargedFunctions]:
        """Return a first model, with all functions, and what its charges are coefficients of.  Collective."""
        settings, subspaces, start = self.settings, found.subspaces, found.start
        points, rotation_ff = self._learned_points(active.dense, found.labels_k, functions)
        self.log(f"{len(functions)} density functions, {len(points.mean_q)} points")
        seen = Seen(functions, rotation_ff, settings.tables, self.cores)
        constant, one_electron, ions = self._ions(active, found.labels_k, seen)
        sampled = self._predicted_latent(start, settings.xc_samples // 4, settings.seed + 4)
        reached = Reached.of(subspaces, points, start, sampled, settings.seed)
        charged = ChargedFunctions(functions, rotation_ff, functions.labels_f)
        xc = self._xc_points(active.dense, found.labels_k, charged, reached)
        dipole = dipole_of(functions, rotation_ff, len(subspaces))
        cores = self.cores.moving
        none = FirstOrderArrays.none(len(self.boxes), len(subspaces), len(points.mean_q))
        arrays = LearnedArrays(subspaces, start, constant, one_electron, none, ions, self.boxes, points, xc, dipole, cores)
        return arrays, charged

    def _with_first_order_read(self, arrays: LearnedArrays, found: LatentFound) -> LearnedArrays:
        """Return the model with the first order of the ions read off its points, if that is good enough.  Collective."""
        predicted_sav, predicted_sd = self._predicted_latent(arrays.start, samples_needed(arrays), self.settings.seed + 5)
        sampled = np.concatenate([predicted_sav, found.positions_sav]), np.concatenate([predicted_sd, found.latent_sd])
        fit = with_first_order_read(arrays, found.labels_d, sampled, self.comm, self.settings.seed)
        self.log(fit.describe(self.settings.first_order))
        return fit.arrays if fit.error < self.settings.first_order else arrays

    def _slopes(self, found: LatentFound) -> int:
        """Return at how many slopes of the density to look: one counts with its images, but these are not taken elsewhere."""
        return int(self.settings.slopes * len(found.subspaces) / np.sqrt(len(np.unique(found.labels_d))))

    def _memory(self, found: LatentFound) -> float:
        """Return what modes and samples of the density take on this rank at most, bytes."""
        # functions, of which there are a few for each direction, are put into order, at one point for all its images
        functions = 2 * FUNCTIONS_PER_DIRECTION * len(found.subspaces) / len(self.states.species)
        samples = self.settings.densities + self._slopes(found) + functions
        dense = self.model.density_grid.local_size
        own = np.dtype(float).itemsize * len(self.modes) * self.model.grid.local_size
        if self.model.refinement is not None:
            own += np.dtype(float).itemsize * found.subspaces.active_mk.shape[1] * dense
        return own + np.dtype(np.float32).itemsize * samples * dense

    def _samples(self, count: int, seed: int) -> np.ndarray:
        """Return random mixtures of training geometries, shape (samples, N, 3), bohr."""
        return sample_geometries(self.training.positions_sav, self.frame, count, seed)

    def _candidates(self) -> np.ndarray:
        """Return random geometries for reduced ground states, inside the tables, shape (samples, N, 3), bohr."""
        known_sav, count = self.training.positions_sav, 4 * self.settings.solves
        drawn_sav = normal_geometries(known_sav, self.frame, count, self.settings.seed)
        lower_av, upper_av = corners(self.boxes)
        beyond_sav = np.maximum(lower_av - drawn_sav, drawn_sav - upper_av)
        return drawn_sav[beyond_sav.max(axis=(1, 2)) < SAME_GEOMETRY]

    def _start_fit(self, labels_d: np.ndarray, terms: int, gap: float = 0.0, least: int = 0) -> StartFit:
        """Return what fits a polynomial of at most so many terms of a species to minima, to within a gap (Ha)."""
        model, centre_av = self.model, self.states.centre_av
        coordinates = suitable(self.training.positions_sav, self.frame.n_coordinates, self.states.species)

        def make_energy(arrays: LearnedArrays) -> LearnedEnergy:
            return LearnedEnergy(arrays, model.functional, model.valences_a, model.grid.periodic_cell_v)

        def draw(count: int) -> np.ndarray:
            return self._samples(count, self.settings.seed + 2)

        return StartFit(
            make_energy, centre_av, draw, coordinates, labels_d, terms=terms, gap=gap, least=least, comm=self.comm, log=self.log
        )

    def _functions(self, modes: Orbitals, found: LatentFound) -> DensityFunctions:
        """Return the density functions of solved and predicted minima, and of slopes there."""
        settings, subspaces = self.settings, found.subspaces
        found_sd = _some(found.latent_sd, settings.densities, settings.seed)
        _, predicted_sd = self._predicted_latent(found.start, settings.densities - len(found_sd), settings.seed + 3)
        reached_sd = np.concatenate([found_sd, predicted_sd])
        species, smallest, seed = self.states.species, settings.functions, settings.seed
        return density_functions(
            modes,
            subspaces,
            found.labels_k,
            reached_sd,
            n_slopes=self._slopes(found),
            smallest=smallest,
            seed=seed,
            species=species,
        )

    def _learned_points(
        self, modes: Orbitals, labels_k: np.ndarray, functions: DensityFunctions
    ) -> tuple[LearnedPoints, np.ndarray]:
        """Return the learned grid, and the rotation to the density functions that interact diagonally (f, f)."""
        leading = int(np.sum(functions.singular_values_f > self.settings.responses))
        interaction_ff = interaction(functions, self.cores, leading, self.log)
        interaction_f, rotation_ff = eigh_of_blocks(interaction_ff, functions.labels_f, partial(eigh, self.comm))
        chosen = choose_points(functions, self.settings.per_function)
        at_chosen_fq = rotation_ff.T @ functions.at(chosen)
        reading_fq = np.empty_like(at_chosen_fq)
        for block in blocks_of(functions.labels_f):
            reading_fq[block] = np.linalg.pinv(at_chosen_fq[block].T)
        modes_qk = values_at(modes.grid, modes.matrix_local, chosen).T.copy()
        mean_q = values_at(modes.grid, functions.mean.local.reshape(1, -1), chosen)[0]
        reading_fq = decide(self.comm, reading_fq)
        return LearnedPoints(modes_qk, mean_q, reading_fq, interaction_f, labels_k, functions.labels_f), rotation_ff

    def _ions(self, active: OrbitalSpace, labels_k: np.ndarray, seen: Seen) -> tuple[float, OneElectronArrays, list[MovingIon]]:
        """Return the constant energy (Ha), what acts on the orbitals with whole matrices, and the moving ions' tables."""
        constant, potential = mean_field(seen.functions.mean, self.cores)
        constant_kk = active.dense.matrix_elements(potential)
        constant_kk += active.kinetic_matrix(self.model.laplacian)
        constant_kk += pinned_ions(self.model, active.dense, self.boxes)
        found = self._tabulated(active.dense, labels_k, seen)
        slopes_xkk = np.zeros((3 * len(self.boxes), *constant_kk.shape))
        for a, each in found.items():
            constant_kk += each.mean_kk
            slopes_xkk[3 * a : 3 * a + 3] = each.slopes_vkk
        centre_x = np.array([0.5 * (box.lower_v + box.upper_v) for box in self.boxes]).ravel()
        moved_sav, n_coordinates = self.training.positions_sav, self.frame.n_coordinates
        one_electron = along_motion(constant_kk, slopes_xkk, centre_x, moved_sav, n_coordinates, self.states.species)
        ions = [with_projectors(self.model, active.dense, found[a].ion, seen.smallest) for a in sorted(found)]
        return constant, one_electron, ions

    def _tabulated(self, modes: Orbitals, labels_k: np.ndarray, seen: Seen) -> dict[int, Tabulated]:
        """Return the tables of every moving ion, made once for those that operations take into each other.  Collective."""
        boxes = {a: box for a, box in enumerate(self.boxes) if box.axes}
        origins = equivalent(boxes, self.states.species)
        alone = [a for a in boxes if a not in origins]
        smeared = smeared_sums(self.model, {a: boxes[a] for a in alone}, seen, self.log)
        countdown, found = Countdown(self.log, sum(len(boxes[a].nodes()) for a in alone), "point of the tables"), {}
        for a in alone:
            found[a] = tabulated_ion(self.model, modes, seen, a, boxes[a], smeared.pop(a, None))
            countdown.advance(count=len(boxes[a].nodes()))
        for a, (origin, bits, symmetry) in origins.items():
            parities = parity(seen.functions.labels_f, bits), parity(labels_k, bits)
            found[a] = image_of(found[origin], boxes[a], symmetry, *parities)
        return found

    def _predicted_latent(self, start: StartArrays, count: int, seed: int) -> Sampled:
        """Return random geometries (samples, N, 3), bohr, and latent coordinates of predicted minima there (samples, d)."""
        positions_sav = self._samples(count, seed)
        return positions_sav, decide(self.comm, predicted(start, positions_sav))

    def _balance_samples(
        self, modes: Orbitals, charged: ChargedFunctions, found: LatentFound, minima: Sampled, learned: Sampled
    ) -> BalanceSamples:
        """Return the minima and the ground states, and the charges there.  Collective."""
        positions_sav, latent_sd = (np.concatenate(pair) for pair in zip(minima, learned, strict=True))
        latent_sd = with_nearby(latent_sd, self.settings.seed)
        orbitals_snk, _ = found.subspaces.orthonormal(latent_sd)
        return BalanceSamples(positions_sav, latent_sd, charged.charges(modes, found.labels_k, orbitals_snk))

    def _distinct(self, found: LatentFound) -> Sampled:
        """Return the geometries and latent coordinates of ground states without images, of which energies are the same."""
        # a point of xc stands for itself alone where cores move
        kept = slice(None) if self.cores.moving else self.states.species.distinct(found.positions_sav)
        return found.positions_sav[kept], found.latent_sd[kept]

    def _xc_samples(self, minima: Sampled, learned: Sampled) -> Sampled:
        """Return geometries (samples, N, 3), bohr, and latent coordinates (samples, d) where the xc remainder shall be right.

        All ground states are among them, which are farther out than minima at mixtures of geometries: where one is not seen,
        the quadrature has been off by a hundredth of the remainder.
        """
        (learned_sav, learned_sd), (minima_sav, minima_sd) = learned, minima
        count = max(self.settings.xc_samples, int(SAMPLES_PER_DIRECTION * minima_sd.shape[1]))
        missing = max(count - len(learned_sd), count // 2)
        return np.concatenate([learned_sav, minima_sav[:missing]]), np.concatenate([learned_sd, minima_sd[:missing]])

    def _xc_points(self, modes: Orbitals, labels_k: np.ndarray, charged: ChargedFunctions, reached: Reached) -> XcPoints:
        points = max(self.settings.xc_points, int(POINTS_PER_SAMPLE * len(reached.charges_sa)))
        return choose_xc_points(self.cores, modes, labels_k, charged, reached, points=points, seed=self.settings.seed)


def _some(samples: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return so many of the samples (s, ...), drawn at random, or all; in their own unit.  Not collective."""
    return samples[np.random.default_rng(seed).permutation(len(samples))[:count]]
