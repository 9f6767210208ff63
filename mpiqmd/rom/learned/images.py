"""From what a point has of every symmetry species to what its images under twofold operations have, and back.

u(g q) = Σ_σ χ_σ(g) u_σ(q),     u_σ(q) = 1/G Σ_g χ_σ(g) u(g q),     χ = ±1
"""

from __future__ import annotations

import numpy as np

from mpiqmd.compiling import compiled
from mpiqmd.rom.learned.species import blocks_of


@compiled()
def to_images(rows: np.ndarray, n_images: int) -> None:
    """Turn what points have of every species into what their images have, or back: rows (B, images Q), in place.

    ``u_g = Σ_σ χ_σ(g) u_σ`` with the characters ±1 of commuting twofold operations (a Walsh-Hadamard transform): the matrix is
    its own transpose.
    """
    for row in rows:
        count, step = len(row) // n_images, 1
        while step < n_images:
            for first in range(n_images):
                if not first & step:
                    one, other = row[first * count : (first + 1) * count], row[(first + step) * count :]
                    for q in range(count):
                        one[q], other[q] = one[q] + other[q], one[q] - other[q]
            step *= 2


def as_species(values_jgq: np.ndarray) -> np.ndarray:
    """Return what values at all images, shape (j, images, Q), have of every species, in their place.  Not collective."""
    size, images, count = values_jgq.shape
    to_images(values_jgq.reshape(size, images * count), images)
    values_jgq /= images
    return values_jgq


def orbitals_at_images(orbitals_snk: np.ndarray, modes_kq: np.ndarray, labels_k: np.ndarray, n_images: int) -> np.ndarray:
    """Return orbitals (s, n, k) at all images of points, shape (s, n, images, q), in the unit of the modes (k, q) there.

    The labels are the species of the modes.  Not collective.
    """
    (samples, n, k), count = orbitals_snk.shape, modes_kq.shape[1]
    values = np.zeros((samples * n, n_images, count), orbitals_snk.dtype)
    for block in blocks_of(labels_k):
        values[:, labels_k[block[0]]] = orbitals_snk.reshape(-1, k)[:, block] @ modes_kq[block]
    to_images(values.reshape(samples * n, n_images * count), n_images)
    return values.reshape(samples, n, n_images, count)
