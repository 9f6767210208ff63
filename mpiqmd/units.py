"""Conversions between Hartree atomic units (used everywhere inside) and the units people write.

CODATA 2018 values.  Factors are for where numbers come in or go out (files, input, messages, figures); equations have none.
"""

BOHR_IN_ANGSTROM = 0.529177210903
HARTREE_IN_EV = 27.211386245988
HARTREE_IN_KJ_PER_MOL = 2625.4996394799
HARTREE_IN_KCAL_PER_MOL = HARTREE_IN_KJ_PER_MOL / 4.184
ATOMIC_TIME_IN_FS = 0.024188843265857
KELVIN_IN_HARTREE = 3.1668115634556e-6
DALTON_IN_ELECTRON_MASS = 1822.888486209
HARTREE_IN_INVERSE_CM = 219474.63136320
ATOMIC_DIPOLE_IN_COULOMB_METRE = 8.4783536255e-30
DEBYE_IN_ATOMIC_UNITS = 0.393430269519
INFRARED_INTENSITY_IN_KM_PER_MOL = 1.7770977313e6

UNITS = {
    "length": {"bohr": 1.0, "angstrom": 1 / BOHR_IN_ANGSTROM, "nm": 10 / BOHR_IN_ANGSTROM},
    "energy": {
        "Ha": 1.0,
        "hartree": 1.0,
        "mHa": 1e-3,
        "eV": 1 / HARTREE_IN_EV,
        "meV": 1e-3 / HARTREE_IN_EV,
        "Ry": 0.5,
        "K": KELVIN_IN_HARTREE,
    },
    "force": {
        "Ha/bohr": 1.0,
        "mHa/bohr": 1e-3,
        "eV/angstrom": BOHR_IN_ANGSTROM / HARTREE_IN_EV,
        "meV/angstrom": 1e-3 * BOHR_IN_ANGSTROM / HARTREE_IN_EV,
    },
    "time": {"au": 1.0, "a.u.": 1.0, "fs": 1 / ATOMIC_TIME_IN_FS, "ps": 1e3 / ATOMIC_TIME_IN_FS},
    "temperature": {"K": KELVIN_IN_HARTREE, "Ha": 1.0, "hartree": 1.0, "eV": 1 / HARTREE_IN_EV},
    "angle": {"rad": 1.0, "deg": 0.017453292519943295, "degrees": 0.017453292519943295},
}
"""Factor from a written unit to atomic units, by dimension."""
