"""A finished model in fewer numbers: what contributes nothing to energies where molecules go is left out.

    E = c·l + ½ c·K c

counts a density function only where both the charges c and the potentials (l, K c) along it are reached.  With factors of their
covariances at sampled minima, ``F_c^T F_c = <c c^T>`` and ``F_v^T F_v = <v v^T>``,

    F_c F_v^T = X Σ Y^T,     a = B^T c,  B = F_v^T Y Σ^-1/2,     c ≈ A a,  A = F_c^T X Σ^-1/2

are the coordinates in which both have the same size Σ ("balanced truncation", B. C. Moore, IEEE Trans. Automat. Contr. 26, 17
(1981)): less than half of the density functions are enough.  Fewer points then tell them apart, read by regression on the same
samples, and the tables of the ions have a lower rank, weighted by where ions are.  Functions are of one symmetry species each,
as before: samples stand for their images.

Regression is on the charges that integrals over the grid give.  Those read at twice as many points as there are functions are
off by what the functions leave of a density, many times over: energies of C2H4 by up to 3e-5 Ha, by regression 1e-6 Ha.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import lstsq, qr

from mpiqmd.rom.learned.data import LearnedArrays, LearnedPoints, MovingIon
from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.first_order import FirstOrderArrays
from mpiqmd.rom.learned.local_ions import polynomial_rows
from mpiqmd.rom.learned.species import blocks_of, eigh_of_blocks

SLOPE_WEIGHT = 1e-3
"""Length of a slope along random latent directions beside minima, square roots of Ha: what predictions are off by, about."""
DISPLACEMENT, EVERY = 1e-3, 2
"""Of the latent coordinates for that slope, square roots of Ha, and of which minima there is one."""
FIELD = 1e-3
"""An electric field whose potential counts like those that are reached, atomic units: dipole moments are read off as well."""
LENGTH = 0.1
"""Displacement of an ion for which slopes of its potential count as much as the potential, bohr."""
TOLD_APART = 1e-7
"""Change of density at the points that counts, relative to the largest: functions are in single precision."""
BATCH = 32
"""Geometries at a time."""


@dataclass(frozen=True)
class BalanceSettings:
    """How much to leave out.

    Attributes
    ----------
    functions
        Contribution to an energy (Ha) down to which density functions are kept.
    per_function
        Points for each of them.
    tables
        Contribution to an energy (Ha) down to which the tables' factors are kept.
    """

    functions: float = 1e-9
    per_function: float = 5.0
    tables: float = 3e-9


@dataclass(frozen=True)
class BalanceSamples:
    """Densities that a molecule reaches.

    Attributes
    ----------
    positions_sav
        Geometries (s, N, 3), bohr, inside the tables.
    latent_sd
        Latent coordinates of the minima there and, last, of what is ``with_nearby`` (s + s / 2, d), square roots of Ha.
    charges_sf
        Coefficients of the density functions at all of them, by integrals over the grid: what points tell is not these.
    """

    positions_sav: np.ndarray
    latent_sd: np.ndarray
    charges_sf: np.ndarray


def with_nearby(latent_sd: np.ndarray, seed: int) -> np.ndarray:
    """Return latent coordinates (s, d), square roots of Ha, and last random ones near every second.  Not collective."""
    some_sd = latent_sd[::EVERY]
    nearby_sd = some_sd + DISPLACEMENT * np.random.default_rng(seed).normal(size=some_sd.shape)
    return np.concatenate([latent_sd, nearby_sd])


@dataclass(frozen=True)
class _Reached:
    """What samples of minima, and slopes there, reach: charges (s, f), potentials (v, f), changes (s, species, Q)."""

    charges_sf: np.ndarray
    potentials_vf: np.ndarray
    changes_sgq: np.ndarray
    minima: int


def balanced(energy: LearnedEnergy, samples: BalanceSamples, settings: BalanceSettings) -> tuple[LearnedArrays, np.ndarray]:
    """Return the smaller model, and its density functions as combinations of those before (f, a).  Not collective.

    Parameters
    ----------
    energy
        The model, with whole matrices: what is read off points is that of all of them.
    samples
        What it has to know.
    settings
        How much to leave out.
    """
    arrays = energy.arrays
    reached = _reached(energy, samples)
    kept = _coordinates(reached, arrays.points.labels_f, settings.functions)
    interaction_a, rotation_aa = _diagonal(arrays.points.interaction_f, kept)
    read_fa, count = kept.read_fa @ rotation_aa, int(np.ceil(settings.per_function * np.bincount(kept.labels_a).max()))
    if count < len(arrays.points.mean_q):
        points = _fewer_points(arrays.points, reached, read_fa, kept.labels_a, count)
    else:
        points = replace(arrays.points, reading_fq=read_fa.T @ arrays.points.reading_fq, labels_f=kept.labels_a)
    scale_f = np.append(np.sqrt(kept.sizes_a), 1.0)
    ions = []
    for ion in arrays.ions:
        right_jf = np.concatenate([ion.right_jf[:, :-1] @ kept.expand_fa, ion.right_jf[:, -1:]], axis=1)
        smaller = _lower_rank(replace(ion, right_jf=right_jf), samples.positions_sav[:, ion.index], scale_f, settings.tables)
        turned_jf = np.concatenate([smaller.right_jf[:, :-1] @ rotation_aa, smaller.right_jf[:, -1:]], axis=1)
        ions.append(replace(smaller, right_jf=turned_jf))
    combinations_fa = kept.expand_fa @ rotation_aa
    dipole = replace(arrays.dipole, functions_vf=arrays.dipole.functions_vf @ combinations_fa)
    xc = arrays.xc.combined(combinations_fa, kept.labels_a)
    points = replace(points, interaction_f=interaction_a)
    nothing = FirstOrderArrays.none(len(arrays.boxes), len(arrays.subspaces), len(points.mean_q))
    return replace(arrays, points=points, ions=ions, dipole=dipole, xc=xc, first_order=nothing), combinations_fa


def _reached(energy: LearnedEnergy, samples: BalanceSamples) -> _Reached:
    """Return what is reached, slopes last."""
    points, minima = energy.arrays.points, len(samples.positions_sav)
    charges_sf = _with_slopes(samples.charges_sf, minima)
    external, changes = [], []
    for start in range(0, len(samples.latent_sd), BATCH):
        batch = slice(start, start + BATCH)
        orbitals_bnk, _ = energy.arrays.subspaces.orthonormal(samples.latent_sd[batch])
        changes.append(points.changes(orbitals_bnk))
        if start < minima:
            placed = energy.place_batch(samples.positions_sav[batch])
            external.append(placed.tables_baif[:, :, 0, : len(points.labels_f)].sum(axis=1))
    external_sf, response_sf = np.concatenate(external), points.interaction_f * charges_sf[:minima]
    field_vf = FIELD * np.sqrt(minima) * energy.arrays.dipole.functions_vf
    potentials_vf = np.concatenate([external_sf, response_sf, external_sf + response_sf, field_vf])
    return _Reached(charges_sf, potentials_vf, _with_slopes(np.concatenate(changes), minima), minima)


def _with_slopes(values: np.ndarray, minima: int) -> np.ndarray:
    """Return what minima have and, in place of what is nearby, the slopes that lead there."""
    first, nearby = values[:minima], values[minima:]
    return np.concatenate([first, (nearby - first[::EVERY]) * (SLOPE_WEIGHT / DISPLACEMENT)])


@dataclass(frozen=True)
class _Kept:
    """A and B, each (f, a), and Σ (a,), Ha, with the symmetry species of the new functions, by which they are sorted."""

    expand_fa: np.ndarray
    read_fa: np.ndarray
    sizes_a: np.ndarray
    labels_a: np.ndarray


def _coordinates(reached: _Reached, labels_f: np.ndarray, smallest: float) -> _Kept:
    """Return the coordinates that are kept, at least one."""
    blocks = blocks_of(labels_f)
    found = [_balanced_block(reached, block) for block in blocks]
    least = min(smallest, max(sizes.max() for _, _, sizes in found) * (1.0 - 1e-12))
    counts = [int(np.sum(sizes > least)) for _, _, sizes in found]
    expand_fa, read_fa = np.zeros((len(labels_f), sum(counts))), np.zeros((len(labels_f), sum(counts)))
    filled = 0
    for block, (expand, read, _), count in zip(blocks, found, counts, strict=True):
        columns = slice(filled, filled + count)
        expand_fa[block, columns], read_fa[block, columns] = expand[:, :count], read[:, :count]
        filled += count
    sizes_a = np.concatenate([sizes[:count] for (_, _, sizes), count in zip(found, counts, strict=True)])
    return _Kept(expand_fa, read_fa, sizes_a, np.repeat([labels_f[block[0]] for block in blocks], counts))


def _diagonal(interaction_f: np.ndarray, kept: _Kept) -> tuple[np.ndarray, np.ndarray]:
    """Return K, Ha, shape (a,), of combinations that interact with themselves alone, and the rotation to these (a, a)."""
    interaction_aa = kept.expand_fa.T @ (interaction_f[:, None] * kept.expand_fa)
    return eigh_of_blocks(0.5 * (interaction_aa + interaction_aa.T), kept.labels_a)


def _balanced_block(reached: _Reached, block: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all of A and B, each (f of one species, a), and Σ (a,), Ha, descending."""
    charges, potentials = (
        _factor(rows_sf[:, block], reached.minima) for rows_sf in (reached.charges_sf, reached.potentials_vf)
    )
    left, sizes, right = np.linalg.svd(charges @ potentials.T, full_matrices=False)
    roots_a = np.sqrt(np.maximum(sizes, np.finfo(float).tiny))
    return charges.T @ left / roots_a, potentials.T @ right.T / roots_a, sizes


def _factor(rows_sf: np.ndarray, count: int) -> np.ndarray:
    """Return F, upper triangular, with ``F^T F = Σ_s row_s row_s^T / count``."""
    return np.linalg.qr(rows_sf, mode="r") / np.sqrt(count)


def _fewer_points(
    points: LearnedPoints, reached: _Reached, read_fa: np.ndarray, labels_a: np.ndarray, count: int
) -> LearnedPoints:
    """Return so many points that tell the samples and their images apart, and how the new charges are read off them."""
    changes_sgq, charges_sa = reached.changes_sgq, reached.charges_sf @ read_fa
    chosen = np.sort(qr(changes_sgq.reshape(-1, changes_sgq.shape[2]), mode="r", pivoting=True)[1][:count])
    reading_aq = np.zeros((len(labels_a), len(chosen)))
    for block in blocks_of(labels_a):
        seen_sq = changes_sgq[:, labels_a[block[0]], chosen]
        reading_aq[block] = lstsq(seen_sq, charges_sa[:, block], cond=TOLD_APART, lapack_driver="gelsd")[0].T
    return replace(
        points, modes_qk=points.modes_qk[chosen], mean_q=points.mean_q[chosen], reading_fq=reading_aq, labels_f=labels_a
    )


def _lower_rank(ion: MovingIon, positions_sv: np.ndarray, scale_f: np.ndarray, smallest: float) -> MovingIon:
    """Return the table with the lowest rank where its ion is, given what its columns weigh."""
    rows_sik = polynomial_rows(positions_sv, ion.box, ion.degrees_kv)[:, :, : len(ion.degrees_kv)]
    rows_sik[:, 1:] *= LENGTH
    weight_kk = _factor(rows_sik.reshape(-1, rows_sik.shape[2]), len(positions_sv))
    table_kf = (ion.left_kj @ ion.right_jf) * scale_f
    _, values, right = np.linalg.svd(weight_kk @ table_kf, full_matrices=False)
    right = right[: max(1, int(np.sum(values > smallest)))]
    return replace(ion, left_kj=table_kf @ right.T, right_jf=right / scale_f)
