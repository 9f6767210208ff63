"""Points in a box of parameters: independent random ones, and Sobol sequences, which fill it more evenly.

I. M. Sobol, USSR Comput. Math. Math. Phys. 7, 86 (1967).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.errors import ConfigError


def random_in_box(n: int, rng: np.random.Generator, lower: Sequence[float], upper: Sequence[float]) -> np.ndarray:
    """Return n independent uniform points in a box, shape (n, d), in the unit of its sides. Not collective."""
    lower_d, upper_d = _bounds(n, lower, upper)
    return rng.uniform(lower_d, upper_d, size=(n, len(lower_d)))


def sobol_in_box(n: int, lower: Sequence[float], upper: Sequence[float], seed: int | None = None) -> np.ndarray:
    """Return the first n points of a Sobol sequence in a box, shape (n, d). Not collective.

    In the unit of the sides.  With a seed the sequence is scrambled; without, it is the plain one, started
    after its first point, which is a corner of the box, with the centre.  A longer sequence begins with the shorter one.
    """
    from scipy.stats import qmc  # slow to load, and seldom needed

    lower_d, upper_d = _bounds(n, lower, upper)
    sequence = qmc.Sobol(len(lower_d), scramble=seed is not None, seed=seed)
    skipped = 1 if seed is None else 0
    # a sequence is balanced at powers of two, and SciPy warns about other lengths: draw more and cut
    unit_sd = sequence.random_base2(int(np.ceil(np.log2(max(n + skipped, 1)))))
    return lower_d + (upper_d - lower_d) * unit_sd[skipped : n + skipped]


def _bounds(n: int, lower: Sequence[float], upper: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    lower_d, upper_d = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)
    shapes_agree = lower_d.ndim == 1 and len(lower_d) > 0 and lower_d.shape == upper_d.shape
    if n < 1 or not shapes_agree or not (lower_d <= upper_d).all():
        raise ConfigError(
            f"{n} samples in a box from {lower_d.tolist()} to {upper_d.tolist()} were asked for; at least "
            "one sample, and a lower bound not above the upper one for each parameter, are needed. Correct "
            "the box in [train]."
        )
    return lower_d, upper_d
