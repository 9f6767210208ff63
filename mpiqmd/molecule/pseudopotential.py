r"""Norm-conserving pseudopotentials as radial functions on a uniform mesh.

The ion of charge Z acts on an electron through a local part, which tends to ``-Z/r``, and a separable
non-local part,

.. math:: V_{nl} = \sum_{lm} \sum_{pq} |\chi^l_p Y_{lm}\rangle\, h^l_{pq}\, \langle \chi^l_q Y_{lm}|,

with real spherical harmonics ``Y_lm``.  Every format (GTH table, psp8 file) becomes this one type.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import erf, erfc

from mpiqmd.errors import DataFileError
from mpiqmd.regular import in_words, read_bounded

HIGHEST_ANGULAR_MOMENTUM = 3
LARGEST_FILE = 16_000_000
"""Bytes; no norm-conserving potential comes near it."""
LONGEST_MESH = 100_000
"""Radii of a file."""
IDLE = 1e-20
"""Ha bohr^-3: a projector whose couplings, times the largest values of what they couple, stay below adds nothing."""
VANISHED_IN_WIDTHS = 6.0
"""``erfc`` of this is 2e-17."""


@dataclass(frozen=True, eq=False)
class Channel:
    """Projectors of one angular momentum. Not collective; replicated.

    Parameters
    ----------
    l
        Angular momentum, 0 to 3.
    projectors_pr
        Radial functions chi_p(r) themselves (not r times them) on the mesh of the pseudopotential,
        shape (n_projectors, n_mesh), bohr^-3/2; they behave as r^l near the nucleus.
    coupling_pp
        Symmetric matrix h of the non-local energy, shape (n_projectors, n_projectors), Ha.
    """

    l: int  # noqa: E741
    projectors_pr: np.ndarray
    coupling_pp: np.ndarray

    def __post_init__(self) -> None:
        projectors_pr = _frozen(self.projectors_pr)
        coupling_pp = _frozen(self.coupling_pp)
        n_projectors = projectors_pr.shape[0]
        if projectors_pr.ndim != 2 or coupling_pp.shape != (n_projectors, n_projectors):
            raise DataFileError(
                f"channel l = {self.l} has projectors of shape {projectors_pr.shape} and a coupling matrix "
                f"of shape {coupling_pp.shape}; (n, n_mesh) and (n, n) are needed. Check the pseudopotential."
            )
        if not np.allclose(coupling_pp, coupling_pp.T, rtol=1e-12, atol=0.0):
            raise DataFileError(
                f"coupling matrix of channel l = {self.l} is {coupling_pp.tolist()}; it must be symmetric. "
                "Check the pseudopotential."
            )
        object.__setattr__(self, "projectors_pr", projectors_pr)
        object.__setattr__(self, "coupling_pp", coupling_pp)

    def active(self) -> Channel:
        """Return the channel without the projectors that add nothing, itself if there are none. Not collective."""
        largest_p = np.abs(self.projectors_pr).max(axis=1, initial=0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            strength_pp = np.abs(self.coupling_pp) * largest_p[:, None] * largest_p
        is_active_p = (strength_pp > IDLE).any(axis=1)
        if is_active_p.all():
            return self
        return Channel(self.l, self.projectors_pr[is_active_p], self.coupling_pp[np.ix_(is_active_p, is_active_p)])


@dataclass(frozen=True, eq=False)
class Pseudopotential:
    """One species: ionic charge, local potential, projectors, atomic densities. Not collective; replicated.

    Parameters
    ----------
    symbol
        Element symbol.
    valence
        Charge Z of the ion, equal to the number of valence electrons of the neutral atom.
    functional
        Family the potential was made for: ``"LDA"``, ``"PBE"``, or another name.
    source
        File name, or name of the table entry.
    sha256
        Hash of the file, or of the table entry.
    mesh_r
        Uniform radial mesh from 0, shape (n_mesh,), bohr.
    local_r
        Local potential, shape (n_mesh,), Ha; finite at 0 and equal to -Z/r at the end of the mesh.
    channels
        Non-local part; empty for a purely local potential.  Projectors that add nothing, since they or their couplings
        vanish, are left out.
    core_density_r
        Model core density of a non-linear core correction, shape (n_mesh,), electrons per bohr^3, or None.
    valence_density_r
        Density of the neutral atom's valence electrons, shape (n_mesh,), electrons per bohr^3, or None.
    remarks
        What a user should know about the file, a few words each.
    """

    symbol: str
    valence: float
    functional: str
    source: str
    sha256: str
    mesh_r: np.ndarray
    local_r: np.ndarray
    channels: tuple[Channel, ...]
    core_density_r: np.ndarray | None = None
    valence_density_r: np.ndarray | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("mesh_r", "local_r", "core_density_r", "valence_density_r"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, _frozen(values))
        object.__setattr__(self, "channels", tuple(self.channels))
        self._check_shapes()
        self._check_finite()
        self._leave_out_what_adds_nothing()

    @property
    def mesh_spacing(self) -> float:
        """Spacing of the radial mesh, bohr."""
        return float(self.mesh_r[1] - self.mesh_r[0])

    @property
    def n_projectors(self) -> int:
        """Number of projectors of one atom, counting the 2l + 1 orientations of each."""
        return sum((2 * channel.l + 1) * len(channel.coupling_pp) for channel in self.channels)

    def short_range_local(self, width: float) -> tuple[np.ndarray, np.ndarray]:
        """Return a mesh and on it the local potential without its Coulomb tail (Ha), both of shape (n,).

        ``V_loc(r) + Z erf(r/width)/r``: the rest of the ion once the potential of the Gaussian charge
        ``Z exp(-r^2/width^2) / (sqrt(pi) width)^3`` has been split off.  ``width`` is in bohr.  The mesh is that of
        the potential, continued, where it is short, until the rest ``-Z erfc(r/width)/r`` has vanished.
        """
        n_mesh = max(len(self.mesh_r), int(np.ceil(VANISHED_IN_WIDTHS * width / self.mesh_spacing)) + 1)
        mesh_r = self.mesh_spacing * np.arange(n_mesh)
        short_r = np.empty(n_mesh)
        short_r[0] = self.local_r[0] + self.valence * 2.0 / (np.sqrt(np.pi) * width)
        short_r[1:] = -self.valence * erfc(mesh_r[1:] / width) / mesh_r[1:]
        inner = slice(1, len(self.mesh_r))
        short_r[inner] = self.local_r[inner] + self.valence * erf(mesh_r[inner] / width) / mesh_r[inner]
        return mesh_r, short_r

    def _check_shapes(self) -> None:
        n_mesh = len(self.mesh_r)
        shapes = [self.local_r.shape[-1]] + [channel.projectors_pr.shape[-1] for channel in self.channels]
        shapes += [len(values) for values in (self.core_density_r, self.valence_density_r) if values is not None]
        if any(length != n_mesh for length in shapes):
            raise DataFileError(
                f"{self.source}: radial functions have {shapes} values on a mesh of {n_mesh} points; all "
                "must have the length of the mesh. Check the pseudopotential."
            )
        steps_r = np.diff(self.mesh_r)
        if n_mesh < 4 or self.mesh_r[0] != 0.0 or not np.allclose(steps_r, self.mesh_r[-1] / (n_mesh - 1), rtol=1e-6):
            raise DataFileError(
                f"{self.source}: radial mesh of {n_mesh} points starts at {self.mesh_r[:3].tolist()}; it "
                "must be uniform and start at 0. Convert the file to a uniform mesh."
            )

    def _leave_out_what_adds_nothing(self) -> None:
        active = [channel.active() for channel in self.channels]
        for whole, rest in zip(self.channels, active, strict=True):
            idle = len(whole.coupling_pp) - len(rest.coupling_pp)
            if idle:
                self._remark(f"{idle} of {idle + len(rest.coupling_pp)} projector(s) of l = {whole.l} are zero and add nothing")
        object.__setattr__(self, "channels", tuple(channel for channel in active if len(channel.coupling_pp)))
        if self.core_density_r is not None and not self.core_density_r.any():
            object.__setattr__(self, "core_density_r", None)
            self._remark("the model core density is zero and adds nothing")

    def _remark(self, text: str) -> None:
        object.__setattr__(self, "remarks", (*self.remarks, text))

    def _check_finite(self) -> None:
        functions = [self.local_r, *(channel.projectors_pr for channel in self.channels)]
        functions += [values for values in (self.core_density_r, self.valence_density_r) if values is not None]
        couplings = [channel.coupling_pp for channel in self.channels]
        if not all(np.isfinite(values).all() for values in functions + couplings):
            raise DataFileError(
                f"{self.source}: a radial function of {self.symbol} holds NaN or infinity; all values must "
                "be finite. Get the file again."
            )


def _frozen(values: np.ndarray) -> np.ndarray:
    """A read-only float copy."""
    array = np.array(values, dtype=float)
    array.flags.writeable = False
    return array


def read_file(path: Path, kind: str) -> bytes:
    """Return the bytes of a pseudopotential file. Not collective.

    Raises DataFileError if it cannot be read or is larger than any such file; ``kind`` says what was expected.
    """
    try:
        return read_bounded(path, LARGEST_FILE)
    except OSError as error:
        raise DataFileError(
            f"cannot read the pseudopotential file {path}: {in_words(error)}; a readable {kind} file is needed. "
            "Check the path, which is taken relative to the input file."
        ) from error
