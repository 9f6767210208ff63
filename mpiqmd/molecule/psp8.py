r"""Reader of psp8 files, the format in which ONCVPSP writes optimised norm-conserving potentials.

What a file holds, in this order (ABINIT's ``pspcod = 8``), in Hartree atomic units:

1. title; ``zatom zion pspd``; ``pspcod pspxc lmax lloc mmax r2well``; ``rchrg fchrg qchrg``; ``nproj`` for
   l = 0, 1, ...; the extension switches (and, with spin-orbit coupling, its own projector numbers);
2. for each l a line ``l ekb_1 ... ekb_n`` and ``mmax`` rows ``i r  r chi_1(r) ... r chi_n(r)``; the local
   potential is a block of rows ``i r V_loc(r)`` headed by ``lloc``, in the place of channel ``lloc`` or after
   the last one;
3. spin-orbit blocks, if the first switch is 2 or 3: read and ignored, the potential is the
   scalar-relativistic one;
4. if ``fchrg > 0``, rows ``i r n n' n'' n''' n''''`` of the model core density;
5. if the first switch is 1 or 3, rows ``i r n ...`` of the atomic valence density.

Both densities are tabulated as 4 pi n(r) (the integral of the second over r^2 dr is the number of valence
electrons); they are returned as n(r).  D. R. Hamann, Phys. Rev. B 88, 085117 (2013), for the potentials.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from scipy.integrate import trapezoid

from mpiqmd.datafiles import reading
from mpiqmd.molecule.pseudopotential import Channel, Pseudopotential, read_file
from mpiqmd.molecule.psp8_header import Header, Lines, read_header

_CORE_COLUMNS = 5
"""The model core density and four derivatives; tables of the valence density are narrower."""


def read_psp8(path: str | Path) -> Pseudopotential:
    """Read a psp8 file. Not collective; every rank that calls it reads the file.

    Parameters
    ----------
    path
        The file; ``source`` of the result is its name, ``sha256`` the hash of its bytes.

    Returns
    -------
    Pseudopotential on the mesh of the file, with diagonal coupling matrices, and the densities the file has.

    Raises
    ------
    DataFileError
        The file cannot be read, is not psp8, is cut short or damaged; the message names file and line.
    """
    path = Path(path)
    content = read_file(path, "psp8")
    lines = Lines(path, content.decode("utf-8-sig", errors="replace").splitlines())
    with reading(path, "psp8 file", "Get the file again, or use another one."):
        return _assemble(lines, hashlib.sha256(content).hexdigest())


def _assemble(lines: Lines, sha256: str) -> Pseudopotential:
    """Return the pseudopotential of a file's lines; raises DataFileError."""
    header = read_header(lines)
    channels, local_r, mesh_r = _read_potentials(lines, header)
    _skip_spin_orbit(lines, header)
    core_density_r = valence_density_r = None
    if header.core_charge > 0:
        core_density_r = lines.block(header.n_mesh, _CORE_COLUMNS, "model core density")[1][:, 0] / (4.0 * np.pi)
        _check_core(lines, core_density_r)
    if header.extension in (1, 3):
        valence_density_r = lines.block(header.n_mesh, 1, "valence density")[1][:, 0] / (4.0 * np.pi)
        _check_valence(lines, header, mesh_r, valence_density_r)
    _require_end(lines)
    _check_tail(lines, header, mesh_r, local_r)
    return Pseudopotential(
        symbol=header.symbol,
        valence=header.valence,
        functional=header.functional,
        source=lines.path.name,
        sha256=sha256,
        mesh_r=mesh_r,
        local_r=local_r,
        channels=channels,
        core_density_r=core_density_r,
        valence_density_r=valence_density_r,
        remarks=("its spin-orbit coupling is not used",) if any(header.n_spin_orbit) else (),
    )


def _read_potentials(lines: Lines, header: Header) -> tuple[tuple[Channel, ...], np.ndarray, np.ndarray]:
    """Channels, local potential and mesh."""
    channels: list[Channel] = []
    local_r = mesh_r = None
    for l in sorted({*range(header.highest + 1), header.local}):  # noqa: E741
        n_projectors = 0 if l == header.local else header.n_projectors[l]
        if l != header.local and n_projectors == 0 and lines.peek()[:1] != [float(l)]:
            continue
        energies = _channel_header(lines, l, n_projectors)
        n_columns = 1 if l == header.local else n_projectors
        radii_r, columns_rp = lines.block(header.n_mesh, n_columns, f"block l = {l}", whole=True)
        mesh_r = _check_mesh(lines, radii_r, mesh_r)
        if l == header.local:
            local_r = columns_rp[:, 0]
        elif n_projectors:
            channels.append(Channel(l, _divide_by_radius(columns_rp.T, mesh_r, l), np.diag(energies)))
    if local_r is None or mesh_r is None:
        raise lines.error(f"there is no local potential, lloc = {header.local}; one block is expected.")
    return tuple(channels), local_r, mesh_r


def _channel_header(lines: Lines, l: int, n_projectors: int) -> list[float]:  # noqa: E741
    """The energies on the line that opens a block."""
    values = lines.numbers(1 + n_projectors, f"the line opening the block l = {l}")
    if values[0] != l:
        raise lines.error(f"a block for l = {values[0]:g} starts here; l = {l} is expected.")
    if n_projectors and len(values) != 1 + n_projectors:
        raise lines.error(f"the block of l = {l} has {len(values) - 1} energies; nproj = {n_projectors} is expected.")
    return values[1 : 1 + n_projectors]


def _skip_spin_orbit(lines: Lines, header: Header) -> None:
    """Read the spin-orbit blocks and keep nothing of them."""
    for l, n_projectors in enumerate(header.n_spin_orbit, start=1):  # noqa: E741
        if n_projectors:
            _channel_header(lines, l, n_projectors)
            lines.block(header.n_mesh, n_projectors, f"spin-orbit block l = {l}")


def _divide_by_radius(weighted_pr: np.ndarray, mesh_r: np.ndarray, l: int) -> np.ndarray:  # noqa: E741
    """chi(r) from r chi(r); at r = 0 for l = 0 an even polynomial through three points, else zero."""
    projectors_pr = np.zeros_like(weighted_pr)
    projectors_pr[:, 1:] = weighted_pr[:, 1:] / mesh_r[1:]
    if l == 0:
        projectors_pr[:, 0] = projectors_pr[:, 1:4] @ np.array([1.5, -0.6, 0.1])
    return projectors_pr


def _check_mesh(lines: Lines, radii_r: np.ndarray, mesh_r: np.ndarray | None) -> np.ndarray:
    """The mesh, once it is known to be uniform, to start at 0 and to be the same for all blocks."""
    uniform_r = np.linspace(0.0, radii_r[-1], len(radii_r))
    expected_r = uniform_r if mesh_r is None else mesh_r
    if radii_r[-1] <= 0 or not np.allclose(radii_r, expected_r, rtol=0.0, atol=1e-6):
        raise lines.error(
            f"the radii of the block before this line run from {radii_r[0]:g} to {radii_r[-1]:g} bohr "
            "unevenly or unlike those of the first block; one uniform mesh from 0 is expected."
        )
    return expected_r


def _check_core(lines: Lines, density_r: np.ndarray) -> None:
    """Raise DataFileError if a core density is negative."""
    if density_r.min() < -1e-6 * np.abs(density_r).max():
        raise lines.error(f"the model core density before this line falls to {density_r.min():.3g}; none is ever negative.")


def _require_end(lines: Lines) -> None:
    """Raise DataFileError if a core density follows that the header denies.

    Valence densities without their switch do occur in good files, and so does an echo of the input.
    """
    if len(lines.peek()) >= 2 + _CORE_COLUMNS:
        lines.position += 1
        raise lines.error("a model core density starts here although fchrg is 0; both must agree.")


def _check_tail(lines: Lines, header: Header, mesh_r: np.ndarray, local_r: np.ndarray) -> None:
    """Raise DataFileError if the local potential does not end as that of the ion's charge, ``-Z / r``."""
    charge = -float(local_r[-1] * mesh_r[-1])
    if abs(charge - header.valence) > 1e-3 * header.valence:
        raise lines.error(
            f"the local potential ends at {mesh_r[-1]:g} bohr like that of a charge {charge:.6g}; "
            f"zion = {header.valence:g} is expected."
        )


def _check_valence(lines: Lines, header: Header, mesh_r: np.ndarray, density_r: np.ndarray) -> None:
    """Raise DataFileError if a valence density is negative or holds more or far fewer electrons than the ion lacks."""
    electrons = float(trapezoid(4.0 * np.pi * density_r * mesh_r**2, mesh_r))
    if density_r.min() < -1e-6 or not 0.5 * header.valence < electrons < 1.01 * header.valence:
        raise lines.error(
            f"the valence density before this line holds {electrons:.6g} electrons; at most zion = "
            f"{header.valence:g} and at least half of it are expected."
        )
