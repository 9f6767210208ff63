"""What PySCF says about small molecules: run by hand, not by the tests.

    python pyscf_reference.py energies|structures OUTPUT.json [NAME ...]

``energies``: total energies at fixed geometries (the file ``geometries.json``), GTH-PADE potentials, LDA (Teter 93),
isolated.  ``structures``: relaxed geometry, dipole and harmonic frequencies of H2O, CO2 and NH3 with the same potentials
and functional (``gth``), and with all electrons (``all-electron``).  Even-tempered Gaussian basis sets; masses are standard
atomic weights.  Lengths in bohr, energies in hartree, frequencies in 1/cm.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from pyscf import dft, gto
from scipy.optimize import minimize

FUNCTIONAL = "LDA_XC_TETER93"
RATIO = 2.1
SHELLS = {
    "energies": {
        "H": ((0, 0.03, 9), (1, 0.12, 5), (2, 0.5, 2)),
        "other": ((0, 0.05, 10), (1, 0.05, 10), (2, 0.15, 5), (3, 0.5, 2)),
    },
    "structures": {
        "H": ((0, 0.03, 9), (1, 0.15, 4), (2, 0.6, 1)),
        "other": ((0, 0.05, 10), (1, 0.05, 10), (2, 0.18, 4), (3, 0.6, 1)),
    },
}
"""Angular momentum, smallest exponent and number of functions of each shell."""
MASSES = {"H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999}
DALTON, INVERSE_CM = 1822.888486209, 219474.63136320
STEP = 0.01
STARTS = {
    "H2O": ("OHH", [[0, 0, 0], [1.11, 1.43, 0], [1.11, -1.43, 0]]),
    "CO2": ("COO", [[0, 0, 0], [0, 0, 2.2], [0, 0, -2.2]]),
    "NH3": ("NHHH", [[0, 0, 0.15], [0, 1.79, -0.5], [1.55, -0.895, -0.5], [-1.55, -0.895, -0.5]]),
}


def even_tempered(symbol: str, size: str) -> list:
    """Uncontracted shells of a GTH atom."""
    shells = SHELLS[size].get(symbol, SHELLS[size]["other"])
    return [[momentum, [first * RATIO**k, 1.0]] for momentum, first, count in shells for k in range(count)]


def solver(symbols: str | list[str], positions_av: np.ndarray, kind: str, charge: int = 0, size: str = "structures"):
    """A Kohn-Sham calculation, not yet run."""
    basis = {symbol: even_tempered(symbol, size) if kind == "gth" else "pcseg-2" for symbol in set(symbols)}
    options = {"pseudo": "gth-pade"} if kind == "gth" else {}
    atoms = list(zip(symbols, positions_av.tolist(), strict=True))
    molecule = gto.M(atom=atoms, basis=basis, unit="Bohr", charge=charge, verbose=0, **options)
    method = dft.RKS(molecule, xc=FUNCTIONAL)
    method.grids.level = 4
    method.conv_tol = 1e-11
    return method


class Surface:
    """Energy and gradient, each calculation starting from the last density matrix."""

    def __init__(self, symbols: str, kind: str) -> None:
        self.symbols, self.kind, self.density_matrix = symbols, kind, None

    def __call__(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        method = solver(self.symbols, flat.reshape(-1, 3), self.kind)
        energy = method.kernel(self.density_matrix)
        self.density_matrix, self.dipole_v = method.make_rdm1(), method.dip_moment(unit="AU", verbose=0)
        gradient = method.nuc_grad_method().kernel()
        # what the integration grid leaves of a net force
        return energy, (gradient - gradient.mean(axis=0)).ravel()


def frequencies(surface: Surface, flat: np.ndarray) -> np.ndarray:
    """Harmonic frequencies without the projection of rigid motions: the six (five) smallest are those."""
    masses = np.repeat([MASSES[symbol] * DALTON for symbol in surface.symbols], 3)
    rows = []
    for index in range(flat.size):
        shift = STEP * np.eye(flat.size)[index]
        rows.append((surface(flat + shift)[1] - surface(flat - shift)[1]) / (2 * STEP))
    hessian = 0.5 * (np.array(rows) + np.array(rows).T) / np.sqrt(np.outer(masses, masses))
    values = np.linalg.eigvalsh(hessian)
    return np.sign(values) * np.sqrt(np.abs(values)) * INVERSE_CM


def structure(name: str, kind: str) -> dict:
    """Relaxed geometry and frequencies."""
    symbols, start = STARTS[name]
    surface = Surface(symbols, kind)
    result = minimize(surface, np.array(start, float).ravel(), jac=True, method="BFGS", options={"gtol": 1e-5})
    energy, gradient = surface(result.x)
    dipole = float(np.linalg.norm(surface.dipole_v))
    print(name, kind, energy, np.abs(gradient).max(), flush=True)
    return {
        "symbols": symbols,
        "energy": float(energy),
        "largest_gradient": float(np.abs(gradient).max()),
        "positions": result.x.reshape(-1, 3).tolist(),
        "dipole": dipole,
        "frequencies": frequencies(surface, result.x).tolist(),
    }


def main() -> None:
    what, target, *names = sys.argv[1:]
    if what == "energies":
        geometries = json.loads((Path(__file__).parent / "geometries.json").read_text())
        values = {}
        for name, entry in geometries.items():
            if not names or name in names:
                method = solver(entry["symbols"], np.array(entry["positions"]), "gth", entry["charge"], "energies")
                values[name] = float(method.kernel())
                print(name, values[name], flush=True)
    else:
        values = {}
        for kind in ("gth", "all-electron"):
            for name in names or STARTS:
                values[f"{name} {kind}"] = structure(name, kind)
                Path(target).write_text(json.dumps(values, indent=1) + "\n")
    Path(target).write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
