"""Thermochemistry of a molecule as an ideal gas of rigid rotors with harmonic vibrations, by ASE."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpiqmd.molecule.rotations import symmetry_number
from mpiqmd.molecule.vibrations import Vibrations
from mpiqmd.units import (
    BOHR_IN_ANGSTROM,
    DALTON_IN_ELECTRON_MASS,
    HARTREE_IN_EV,
    HARTREE_IN_KJ_PER_MOL,
    KELVIN_IN_HARTREE,
)

PRESSURE = 1e5
"""The standard pressure, Pa."""


def thermochemistry(found: Vibrations, energy: float, temperature: float) -> dict[str, Any] | None:
    """Return ``symmetry_number``, ``temperature`` (K), ``pressure`` (Pa) and, in Ha, the internal energy, enthalpy and
    Gibbs energy, with the entropy in Ha/K; None at a saddle point or absolute zero, where there is none.

    ``energy`` is that of the geometry, ``temperature`` k_B T, both Ha.  Electrons are paired. Not collective.
    """
    if found.n_imaginary or temperature <= 0.0:
        return None
    kelvin, sigma = temperature / KELVIN_IN_HARTREE, symmetry_number(found.molecule)
    gas = _ideal_gas(found, energy, sigma)
    return {
        "temperature": kelvin,
        "pressure": PRESSURE,
        "symmetry_number": sigma,
        "internal_energy": gas.get_internal_energy(kelvin, verbose=False) / HARTREE_IN_EV,
        "enthalpy": gas.get_enthalpy(kelvin, verbose=False) / HARTREE_IN_EV,
        "entropy": gas.get_entropy(kelvin, PRESSURE, verbose=False) / HARTREE_IN_EV,
        "gibbs_energy": gas.get_gibbs_energy(kelvin, PRESSURE, verbose=False) / HARTREE_IN_EV,
    }


def _ideal_gas(found: Vibrations, energy: float, sigma: int) -> Any:
    """Return ASE's ideal gas of the molecule."""
    from ase import Atoms
    from ase.thermochemistry import IdealGasThermo

    molecule = found.molecule
    atoms = Atoms(molecule.symbols, positions=molecule.positions_av * BOHR_IN_ANGSTROM)
    atoms.set_masses(molecule.masses_a / DALTON_IN_ELECTRON_MASS)
    n_modes = len(found.frequencies_k)
    shape: Any = "monatomic" if len(molecule) == 1 else "linear" if n_modes == 3 * len(molecule) - 5 else "nonlinear"
    return IdealGasThermo(
        vib_energies=HARTREE_IN_EV * np.asarray(found.frequencies_k),
        geometry=shape,
        potentialenergy=energy * HARTREE_IN_EV,
        atoms=atoms,
        symmetrynumber=sigma,
        spin=0,
    )


def thermochemistry_lines(thermo: dict[str, Any], energy: float) -> list[str]:
    """Return the lines of a table; ``energy`` is that of the geometry, Ha. Not collective."""
    corrections = [("internal energy U", "internal_energy"), ("enthalpy H", "enthalpy"), ("Gibbs energy G", "gibbs_energy")]
    entropy = 1e3 * thermo["entropy"] * HARTREE_IN_KJ_PER_MOL
    return [
        f"ideal gas at {thermo['temperature']:.2f} K and 1 bar (rigid rotor, harmonic vibrations, symmetry number "
        f"{thermo['symmetry_number']}):",
        *(
            f"  {name:18s} {thermo[key]:14.6f} Ha, {HARTREE_IN_KJ_PER_MOL * (thermo[key] - energy):9.2f} kJ/mol above the "
            "energy of the minimum"
            for name, key in corrections
        ),
        f"  {'entropy S':18s} {entropy:14.2f} J/(mol K)",
    ]
