r"""Goedecker-Teter-Hutter pseudopotentials from the published tables shipped with the package.

.. math::

    V_{loc}(r) &= -\frac{Z}{r}\,\mathrm{erf}\frac{r}{\sqrt2 r_{loc}}
        + e^{-r^2/2r_{loc}^2} \sum_{i=1}^{4} C_i \left(\frac{r}{r_{loc}}\right)^{2i-2}, \\
    p^l_i(r) &= \frac{\sqrt2\, r^{l+2(i-1)} e^{-r^2/2r_l^2}}{r_l^{\,l+(4i-1)/2} \sqrt{\Gamma(l+(4i-1)/2)}},

with normalised projectors and the published coupling matrices h.  S. Goedecker, M. Teter, J. Hutter,
Phys. Rev. B 54, 1703 (1996), equations (1) and (3); C. Hartwigsen, S. Goedecker, J. Hutter, Phys. Rev. B 58,
3641 (1998), equations (1) to (4); M. Krack, Theor. Chem. Acc. 114, 145 (2005).
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erf, gamma

from mpiqmd.errors import ConfigError
from mpiqmd.molecule.pseudopotential import Channel, Pseudopotential

MESH_SPACING = 0.005
SHORTEST_MESH = 8.0
TAIL_IN_WIDTHS = 9.5
"""All Gaussians have fallen below 1e-19 this many widths out."""

_TABLE_NAMES = {"LDA": "PADE"}


def load_gth(symbol: str, functional: str, valence: int | None = None) -> Pseudopotential:
    """Return the GTH pseudopotential of an element. Not collective.

    Parameters
    ----------
    symbol
        Element symbol.
    functional
        ``"LDA"`` (the tables named PADE), ``"PBE"`` or ``"BLYP"``.
    valence
        Charge of the ion, for elements with more than one published potential; the recommended one if not
        given.

    Returns
    -------
    Radial functions on a uniform mesh of spacing 0.005 bohr, long enough for every Gaussian to vanish.

    Raises
    ------
    ConfigError
        There is no table for the functional, no entry for the element, or none with this valence charge.
    """
    charge, entry = _entry(symbol, functional, valence)
    source = f"GTH-{_TABLE_NAMES.get(functional, functional)}-q{charge}"
    radii = [entry["local"][0]] + [radius for radius, rows in entry["channels"] if rows]
    length = max(SHORTEST_MESH, TAIL_IN_WIDTHS * max(radii))
    mesh_r = MESH_SPACING * np.arange(int(np.ceil(length / MESH_SPACING)) + 1)
    text = json.dumps([symbol, functional, charge, entry], sort_keys=True)
    return Pseudopotential(
        symbol=symbol,
        valence=float(charge),
        functional=functional,
        source=source,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        mesh_r=mesh_r,
        local_r=local_potential(mesh_r, charge, entry["local"][0], entry["local"][1:]),
        channels=tuple(
            _channel(mesh_r, momentum, radius, rows) for momentum, (radius, rows) in enumerate(entry["channels"]) if rows
        ),
    )


def smallest_radius(symbol: str, functional: str) -> float:
    """Return the smallest width of the local potential and the projectors of the recommended entry, bohr: what a grid must see.

    Not collective.  Raises ConfigError if there is no entry.
    """
    _, entry = _entry(symbol, functional, None)
    return float(min([entry["local"][0]] + [radius for radius, rows in entry["channels"] if rows]))


def local_potential(mesh_r: np.ndarray, valence: float, radius: float, coefficients: list[float]) -> np.ndarray:
    """Return V_loc(r), shape (n_mesh,), Ha, the first equation of the module; at r = 0 its limit. Not collective."""
    scaled_r = mesh_r / radius
    coulomb_r = np.full_like(mesh_r, np.sqrt(2.0 / np.pi) / radius)
    away = mesh_r > 0
    coulomb_r[away] = erf(scaled_r[away] / np.sqrt(2.0)) / mesh_r[away]
    polynomial_r = np.polynomial.polynomial.polyval(scaled_r**2, coefficients or [0.0])
    return -valence * coulomb_r + np.exp(-0.5 * scaled_r**2) * polynomial_r


def projector(mesh_r: np.ndarray, l: int, index: int, radius: float) -> np.ndarray:  # noqa: E741
    """Return the normalised projector p_i^l(r), index i from 1, shape (n_mesh,), bohr^-3/2. Not collective."""
    order = l + 0.5 * (4 * index - 1)
    scaled_r = mesh_r / radius
    # r and r_l enter as a ratio, so that wide projectors do not overflow
    prefactor = np.sqrt(2.0 / gamma(order)) * radius**-1.5
    return prefactor * scaled_r ** (l + 2 * (index - 1)) * np.exp(-0.5 * scaled_r**2)


def available_functionals() -> list[str]:
    """Return the functionals that have a table. Not collective."""
    return list(_tables())


def _channel(mesh_r: np.ndarray, l: int, radius: float, rows: list[list[float]]) -> Channel:  # noqa: E741
    """Projectors and coupling matrix from the rows of its upper triangle."""
    n_projectors = len(rows)
    coupling_pp = np.zeros((n_projectors, n_projectors))
    for row, values in enumerate(rows):
        coupling_pp[row, row:] = values
        coupling_pp[row:, row] = values
    projectors_pr = np.array([projector(mesh_r, l, index + 1, radius) for index in range(n_projectors)])
    return Channel(l, projectors_pr, coupling_pp)


def _entry(symbol: str, functional: str, valence: int | None) -> tuple[int, dict[str, Any]]:
    """Valence charge and parameters of a table entry."""
    if functional not in _tables():
        raise ConfigError(
            f"no GTH pseudopotentials for the functional {functional!r}; there are tables for "
            f"{', '.join(available_functionals())}. Choose one of these functionals, or give a "
            "pseudopotential file."
        )
    table = _tables()[functional]
    if symbol not in table:
        raise ConfigError(
            f"no GTH-{functional} pseudopotential for {symbol!r}; the table covers {', '.join(table)}. "
            f"Give a psp8 or UPF file for {symbol} under [pseudopotentials]."
        )
    charges = [int(key) for key in table[symbol] if key != "default"]
    charge = table[symbol]["default"] if valence is None else valence
    if charge not in charges:
        raise ConfigError(
            f"no GTH-{functional} pseudopotential of {symbol} with {charge} valence electrons; published are "
            f"{', '.join(map(str, sorted(charges)))}. Use one of these, or leave the number out."
        )
    return charge, table[symbol][str(charge)]


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, Any]]:
    path = Path(__file__).parent / "data" / "gth.json"
    return json.loads(path.read_text(encoding="utf-8"))["tables"]
