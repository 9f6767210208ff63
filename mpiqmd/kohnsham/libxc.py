"""A thin binding of the libxc C library, unpolarised LDA and GGA functionals.

    E_xc = ∫ e(ρ, σ) dr,   σ = |∇ρ|²,   libxc returns e/ρ and the derivatives ∂e/∂ρ, ∂e/∂σ

(Lehtola, Steigemann, Oliveira, Marques, SoftwareX 7, 1 (2018)).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from mpiqmd.errors import ConfigError, DataFileError

LDA, GGA = 1, 2
"""Families, as libxc numbers them."""
EXCHANGE, CORRELATION, BOTH = 0, 1, 2
"""Kinds, as libxc numbers them."""
_HAVE_ENERGY, _HAVE_POTENTIAL, _HAVE_SECOND = 1 << 0, 1 << 1, 1 << 2
_THREE_DIMENSIONS, _NONLOCAL, _UNFINISHED = 1 << 7, 1 << 10, 1 << 14


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """Return the loaded C library.  Raises DataFileError if it is not installed."""
    prefixes = [os.environ.get("CONDA_PREFIX"), os.environ.get("LIBXC_PREFIX")]
    candidates = [str(Path(prefix) / "lib" / "libxc.so") for prefix in prefixes if prefix]
    candidates += [name for name in (ctypes.util.find_library("xc"), "libxc.so") if name]
    for name in candidates:
        try:
            loaded = ctypes.CDLL(name)
        except OSError:
            continue
        loaded.xc_func_alloc.restype = ctypes.c_void_p
        loaded.xc_version_string.restype = ctypes.c_char_p
        loaded.xc_func_get_info.restype = ctypes.c_void_p
        for field in ("kind", "family", "flags"):
            getattr(loaded, f"xc_func_info_get_{field}").argtypes = [ctypes.c_void_p]
        loaded.xc_functional_get_number.argtypes = [ctypes.c_char_p]
        loaded.xc_functional_get_name.restype = ctypes.c_void_p
        return loaded
    raise DataFileError(
        f"libxc was not found (tried {candidates or 'the loader path'}): install it (Debian: libxc9, conda: libxc) "
        "or set LIBXC_PREFIX to its folder."
    )


def version() -> str:
    """Return the version of the C library."""
    return library().xc_version_string().decode()


class LibxcTerm:
    """One exchange or correlation functional by its libxc name, such as ``gga_x_pbe``.

    Attributes
    ----------
    family, kind
        ``LDA`` or ``GGA``; ``EXCHANGE``, ``CORRELATION`` or ``BOTH``.

    Raises
    ------
    ConfigError
        There is no such functional, or it is none that a density and its gradient on a grid determine.  Where libxc is
        asked for what it does not have, it ends the process.
    """

    def __init__(self, name: str) -> None:
        c = library()
        self.name = name.strip().lower()
        number = c.xc_functional_get_number(self.name.encode())
        self._function = ctypes.c_void_p(c.xc_func_alloc())
        if number <= 0 or c.xc_func_init(self._function, ctypes.c_int(number), ctypes.c_int(1)) != 0:
            raise ConfigError(
                f"xc.functional: libxc {version()} has no functional {name!r}. Use a short name (LDA, PW92, PBE, revPBE, "
                "BLYP) or libxc names joined by '+', such as gga_x_pbe+gga_c_pbe."
            )
        info = ctypes.c_void_p(c.xc_func_get_info(self._function))
        self.family, self.kind = int(c.xc_func_info_get_family(info)), int(c.xc_func_info_get_kind(info))
        self._flags = int(c.xc_func_info_get_flags(info))
        obstacle = self._obstacle()
        if obstacle:
            raise ConfigError(
                f"xc.functional: {self.name!r} of libxc {version()} {obstacle}; an LDA or GGA in three dimensions with an "
                "energy is needed. Choose another, such as PBE or LDA."
            )

    def _obstacle(self) -> str | None:
        """Return why this functional cannot be evaluated, in words, or None."""
        if self.name.startswith("hyb_"):
            return "is a hybrid: it needs exact exchange"
        if self.family not in (LDA, GGA):
            return "is neither an LDA nor a GGA"
        if self.kind not in (EXCHANGE, CORRELATION, BOTH):
            return "is a kinetic-energy functional"
        if not self._flags & _THREE_DIMENSIONS:
            return "is for one or two dimensions"
        if not self._flags & _HAVE_ENERGY or not self._flags & _HAVE_POTENTIAL:
            return "is a potential without an energy"
        if self._flags & _NONLOCAL:
            return "has a non-local correlation, which is not there"
        if self._flags & _UNFINISHED:
            return "is under development"
        return None

    def evaluate(self, rho: np.ndarray, sigma: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return e/ρ, ∂e/∂ρ and ∂e/∂σ (None for an LDA) at the given points.  Not collective.

        All have the shape of ρ; Ha, Ha and Ha bohr⁵ for ρ in bohr⁻³ and σ in bohr⁻⁸.
        """
        n = ctypes.c_size_t(rho.size)
        energy, v_rho = np.empty_like(rho), np.empty_like(rho)
        if self.family == LDA:
            library().xc_lda_exc_vxc(self._function, n, _c(rho), _c(energy), _c(v_rho))
            return energy, v_rho, None
        v_sigma = np.empty_like(rho)
        library().xc_gga_exc_vxc(self._function, n, _c(rho), _c(sigma), _c(energy), _c(v_rho), _c(v_sigma))
        return energy, v_rho, v_sigma

    def add_second(self, rho: np.ndarray, sigma: np.ndarray | None, second: dict[str, np.ndarray]) -> None:
        """Add ∂²e/∂ρ², ∂²e/∂ρ∂σ and ∂²e/∂σ² at the given points to ``second["rr"]``, ``["rs"]`` and ``["ss"]``.

        Raises ConfigError if this libxc has no second derivatives of the functional.
        """
        if not self._flags & _HAVE_SECOND:
            raise ConfigError(
                f"xc.functional: libxc {version()} has no second derivatives of {self.name!r}; reduced models need them. "
                'Choose another functional, or rom.online = "grid".'
            )
        n = ctypes.c_size_t(rho.size)
        rr = np.empty_like(rho)
        if self.family == LDA:
            library().xc_lda_fxc(self._function, n, _c(rho), _c(rr))
        else:
            rs, ss = np.empty_like(rho), np.empty_like(rho)
            library().xc_gga_fxc(self._function, n, _c(rho), _c(sigma), _c(rr), _c(rs), _c(ss))
            second["rs"] += rs
            second["ss"] += ss
        second["rr"] += rr


def _c(array: np.ndarray) -> ctypes.c_void_p:
    """Return the address of an array that the caller keeps; NumPy's own pointers are in a cycle with it and outlive it."""
    return ctypes.c_void_p(array.ctypes.data)


class FixedPoints:
    """A functional at a fixed number of points, with buffers and C arguments made once: for inner loops.

    ``rho`` (Q,) and ``sigma`` (Q,) are written by the caller; :meth:`evaluate` fills ``e``, ``v_rho`` and ``v_sigma`` with
    libxc's e/ρ, ∂e/∂ρ and ∂e/∂σ and, with ``second``, ``rr``, ``rs`` and ``ss`` with ∂²e/∂ρ², ∂²e/∂ρ∂σ and ∂²e/∂σ².
    Densities must be positive.
    """

    def __init__(self, terms: list[LibxcTerm], n_points: int, second: bool = False) -> None:
        self.rho, self.sigma = np.ones(n_points), np.zeros(n_points)
        self._parts = [[np.zeros(n_points) for _ in range(6 if second else 3)] for _ in terms]
        self._calls = []
        for term, out in zip(terms, self._parts, strict=True):
            lda = term.family == LDA
            arrays = [self.rho, *out[:2], *out[3:4]] if lda else [self.rho, self.sigma, *out]
            function = getattr(library(), f"xc_{'lda' if lda else 'gga'}_exc_vxc{'_fxc' if second else ''}")
            arguments: tuple[object, ...] = (term._function, ctypes.c_size_t(n_points), *map(_c, arrays))
            self._calls.append((function, arguments))
        self._totals = self._parts[0] if len(terms) == 1 else [np.zeros(n_points) for _ in self._parts[0]]
        self.e, self.v_rho, self.v_sigma = self._totals[:3]
        if second:
            self.rr, self.rs, self.ss = self._totals[3:]

    def evaluate(self) -> None:
        """Fill the outputs for the densities now in ``rho`` and ``sigma``."""
        for function, arguments in self._calls:
            function(*arguments)
        if len(self._parts) > 1:
            for total, parts in zip(self._totals, zip(*self._parts, strict=True), strict=True):
                np.add(parts[0], parts[1], out=total)
