"""Latent directions: the principal ones of the occupied subspaces at many geometries, and the modes that these need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mpiqmd.parallel.comm import decide
from mpiqmd.rom.learned.data import StartArrays
from mpiqmd.rom.learned.fitted_start import determined_polynomials, fit
from mpiqmd.rom.learned.ground_states import GroundStates
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.learn_settings import LearnSettings
from mpiqmd.rom.learned.packed import halved
from mpiqmd.rom.learned.reference import Reference
from mpiqmd.rom.learned.species import blocks_of, principal

INDEPENDENT = 0.3
"""Least length of a combination of latent directions of length one over the modes that are kept."""
STATES_PER_DIRECTION = 2.0
"""Ground states for each latent direction, at least."""
FAR_OUT = 0.9
"""Share of the largest latent coordinate of all ground states that is far out."""
AT_ONCE = 10
"""Reduced ground states that are solved before it is looked at again."""


@dataclass(frozen=True)
class LatentFound:
    """Latent subspaces, and the latent coordinates of the ground states that they come from.

    Attributes
    ----------
    subspaces
        The subspaces.
    positions_sav, latent_sd
        The geometries (samples, N, 3), bohr, and coordinates there (samples, d), square roots of Ha.
    labels_d, labels_k
        Symmetry species of the latent coordinates and of the active modes.
    start
        A first polynomial that predicts them.
    """

    subspaces: LatentSubspaces
    positions_sav: np.ndarray
    latent_sd: np.ndarray
    labels_d: np.ndarray
    labels_k: np.ndarray
    start: StartArrays


def latent_directions(states: GroundStates, candidates: Iterator[np.ndarray], settings: LearnSettings) -> LatentFound:
    """Return the latent subspaces of the ground states, and of more at candidate geometries (N, 3), bohr, if they are few.

    Collective.
    """
    mean_y, directions_dy, labels_d = _principal_of_enough(states, candidates, settings)
    comm, reference = states.comm, states.reference
    coordinates_sy, positions_sav = np.array(states.coordinates), np.array(states.positions)
    latent_sd = (coordinates_sy - mean_y) @ directions_dy.T
    signs_d = _signs(latent_sd)
    directions_dy, latent_sd = decide(comm, (signs_d[:, None] * directions_dy, signs_d * latent_sd))
    spanning_mn = decide(comm, reference.spanning(mean_y))
    changes_dmn = np.array([reference.change(direction_y) for direction_y in directions_dy])
    sizes_d = np.sqrt(np.mean(latent_sd**2, axis=0))
    active_mk, labels_k = decide(comm, _active(reference, spanning_mn, changes_dmn, sizes_d, settings.active))
    # other directions by a ten-thousandth, which online fit into half precision
    directions_dnk = halved(np.ascontiguousarray(changes_dmn.transpose(0, 2, 1) @ active_mk))
    subspaces = LatentSubspaces(active_mk, np.ascontiguousarray(spanning_mn.T @ active_mk), directions_dnk)
    polynomials = determined_polynomials(positions_sav, states.n_coordinates, 1.9, states.species)
    fitted_td = decide(comm, fit(polynomials, positions_sav, latent_sd, labels_d))
    start = polynomials.start(fitted_td, np.eye(len(subspaces)))
    return LatentFound(subspaces, positions_sav, latent_sd, labels_d, labels_k, start)


def _principal_of_enough(
    states: GroundStates, candidates: Iterator[np.ndarray], settings: LearnSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add reduced ground states until there are several for each direction, or as many as allowed; return what these are.

    Where there are few, the directions are those of the geometries that happen to be there, not of the molecule.  Some are
    always added: what the training geometries leave out is seen at others.
    """
    for solved in range(0, settings.solves, AT_ONCE):
        found = states.principal(settings.latent)
        wanted = max(settings.geometries, STATES_PER_DIRECTION * len(found[1]))
        if solved >= settings.least_solves and len(states.positions) >= wanted:
            return found
        states.add(candidates, min(AT_ONCE, settings.solves - solved))
    return states.principal(settings.latent)


def _signs(latent_sd: np.ndarray) -> np.ndarray:
    """Return a sign for each direction (d,), so that random displacements are the same whatever a decomposition chose.

    The first of the ground states that lie farthest out is on the positive side: images of one lie equally far.
    """
    far_sd = np.abs(latent_sd) > FAR_OUT * np.abs(latent_sd).max(axis=0)
    return np.sign(latent_sd[np.argmax(far_sd, axis=0), np.arange(latent_sd.shape[1])])


def _active(
    reference: Reference, spanning_mn: np.ndarray, changes_dmn: np.ndarray, sizes_d: np.ndarray, left_out: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the combinations of modes that the subspaces need, orthonormal columns, given what z amounts to.

    In the mean they leave out so much energy (Ha); with the species of each, by which they are sorted.
    """
    columns = np.concatenate([spanning_mn, *(changes_dmn * sizes_d[:, None, None])], axis=1)
    orbitals_mo = np.concatenate([reference.occupied_mn, reference.empty_mv], axis=1)
    labels_o = np.concatenate([reference.labels_n, reference.labels_v])
    values, inside, labels = principal(reference.weighed(columns).T @ orbitals_mo, labels_o)
    count = int(np.sum(0.5 * np.cumsum(values[::-1] ** 2)[::-1] > left_out))
    while True:
        kept = np.argsort(labels[:count], kind="stable")
        active_mk = _orthonormal(reference.weighed(orbitals_mo @ inside[kept].T, power=-1.0), labels[kept])
        if count >= len(values) or _are_independent(reference, active_mk, changes_dmn):
            return active_mk, labels[kept]
        count += 1 + count // 10


def _orthonormal(columns_mk: np.ndarray, labels_k: np.ndarray) -> np.ndarray:
    """Return orthonormal columns with the same span within each species."""
    return np.concatenate([np.linalg.qr(columns_mk[:, block])[0] for block in blocks_of(labels_k)], axis=1)


def _are_independent(reference: Reference, active_mk: np.ndarray, changes_dmn: np.ndarray) -> bool:
    """Return whether latent directions, which are orthonormal, are far from dependent where combinations are left out."""
    seen_dmn = np.einsum("mk,lk,dln->dmn", active_mk, active_mk, changes_dmn, optimize=True)
    columns_mc = seen_dmn.transpose(1, 0, 2).reshape(len(active_mk), -1)
    weighed_md = reference.weighed(columns_mc).reshape(len(active_mk), len(changes_dmn), -1)
    rows_dy = weighed_md.transpose(1, 0, 2).reshape(len(changes_dmn), -1)
    return bool(np.linalg.svd(rows_dy, compute_uv=False)[-1] > INDEPENDENT)
