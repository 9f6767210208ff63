"""What the datasets of models, snapshots and checkpoints are: unit and description, put beside each of them.

Trajectories have a table of their own, since H5MD says how units are written there.  Numbers without a unit have none here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import h5py

Table = dict[str, tuple[str, str]]
"""Unit and description by path; a capital letter stands for a number or a name."""

MODEL_DATASETS: Table = {
    "modes": ("bohr^-3/2", "orthonormal modes in the body frame, on the inner points of the cell, x fastest"),
    "singular_values": ("", "all singular values of the snapshots"),
    "symmetries/axes": (
        "",
        "axis x, y or z (0, 1, 2) that each coordinate is taken from under each operation of the reference",
    ),
    "symmetries/signs": ("", "signs of the coordinates then"),
    "symmetries/permutations": ("", "atom that each atom comes onto"),
    "reference/positions": ("bohr", "reference geometry in the body frame"),
    "reference/masses": ("electron masses", "masses of the nuclei"),
    "training/positions": ("bohr", "training geometries in the body frame"),
    "training/energies": ("Ha", "free energies of the full solver at the training geometries"),
    "training/forces": ("Ha/bohr", "forces of the full solver at the training geometries"),
    "training/orbitals": ("", "training orbitals in the modes: overlaps of mode m and orbital n"),
    "box/lower": ("bohr, rad", "lower bounds of the sampled region; attribute names says of what, theta in rad"),
    "box/upper": ("bohr, rad", "upper bounds of the sampled region"),
}
WINDOWS_DATASETS: Table = {
    "windows": ("", "where the windows are and which are images of others, a JSON object"),
    "models": ("", "checksums of the models beside this file by the number of their window, a JSON object"),
    "notes": ("", "what each of them has noted of its errors, a JSON object"),
    "elsewhere": ("", "files of models that grew in a run, seen from this one, a JSON object"),
    "signature": ("", "the physics of all models, a JSON object"),
}
_LEARNED: Table = {
    "constant": ("Ha", "energy that depends on nothing"),
    "one_electron/constant_kk": ("Ha", "kinetic energy and mean potentials over the active modes"),
    "one_electron/first_order_lkk": ("Ha/bohr", "what is linear in the displacements; none where it is read off the points"),
    "one_electron/axes_lx": ("", "these displacements, of flattened positions"),
    "one_electron/offset_l": ("bohr", "their origin"),
    "first_order/axes_lx": ("", "displacements along which a first order is read off the points, of flattened positions"),
    "first_order/offset_l": ("bohr", "their origin"),
    "first_order/mean_l": ("Ha/bohr", "its energy where the latent coordinates and the change of density are zero"),
    "first_order/latent_ld": ("Ha^1/2/bohr", "what it has of the latent coordinates"),
    "first_order/at_points_lq": (
        "Ha bohr^2",
        "what it has of the change of density at the points, of the species of its displacement",
    ),
    "first_order/labels_l": ("", "symmetry species of the displacements"),
    "dipole/mean_v": ("bohr", "dipole of the mean density"),
    "dipole/functions_vf": ("bohr", "dipoles of the density functions"),
    "dipole/slopes_vd": ("bohr", "derivative of the electrons' dipole in the latent coordinates at the reference"),
    "subspaces/active_mk": ("", "active modes as combinations of all modes"),
    "subspaces/origin_nk": ("", "spanning orbitals at latent coordinates zero"),
    "subspaces/directions_dnk": ("Ha^-1/2", "their changes along the latent directions"),
    "start/axes_yx": ("1/bohr", "coordinates of the polynomial that predicts the minimum"),
    "start/offset_y": ("", "their origin"),
    "start/parents_p": ("", "of every product but the first, which is 1: the product that it is one factor more than"),
    "start/factors_p": ("", "and the coordinate that this factor is"),
    "start/members_tg": ("", "products of which every term is made"),
    "start/signs_tg": ("", "their factors in it"),
    "start/coefficients_td": ("Ha^1/2", "its coefficients: terms, latent coordinates"),
    "start/inverse_hessian_dd": ("", "inverse second derivative of the energy in the latent coordinates"),
    "points/modes_qk": ("bohr^-3/2", "active modes at the points of the learned grid"),
    "points/mean_q": ("bohr^-3", "mean density there"),
    "points/reading_fq": (
        "bohr^3/2",
        "from what a change of density has of their species at the points to the coefficients of the density functions",
    ),
    "points/interaction_f": ("Ha", "Hartree and second-order xc between density functions, diagonal"),
    "points/labels_k": ("", "symmetry species of the active modes: bit i is set where they are odd under operation i"),
    "points/labels_f": ("", "symmetry species of the density functions"),
    "xc/weights_q": ("bohr^3", "weights of the xc remainder, of a point and of each of its images"),
    "xc/functions_fq": ("bohr^-3/2", "density functions at its points"),
    "xc/slopes_vfq": ("bohr^-5/2", "their gradients; no points for an LDA"),
    "xc/mean_q": ("bohr^-3", "mean density there"),
    "xc/mean_slope_vq": ("bohr^-4", "its gradient; no points for an LDA"),
    "xc/labels_f": ("", "symmetry species of the density functions, zeros where points stand for themselves alone"),
    "boxes/A": ("bohr", "lower and upper corner of where an atom may be, and the number of Chebyshev nodes along x, y and z"),
    "ions/A/degrees_kv": ("", "degrees in x, y, z of the products of Chebyshev polynomials of a moving atom"),
    "ions/A/left_kj": ("Ha", "what is left of its local potential on the density functions: left factor"),
    "ions/A/right_jf": ("", "right factor, the mean density last"),
    "ions/A/overlaps_kx": ("", "projector overlaps on all products"),
    "ions/A/coupling_pp": ("Ha", "coefficients of its projectors"),
    "cores/A/coefficients_ic": (
        "bohr^-3",
        "spline of the density of a model core: powers 0 to 3 of the distance in each interval",
    ),
    "cores/A/inverse_step": ("1/bohr", "intervals of that spline per bohr"),
    "cores/positions_vq": ("bohr", "points of xc in the body frame, where model cores move"),
}
MODEL_DATASETS |= {f"arrays/learned/{path}": entry for path, entry in _LEARNED.items()}

SNAPSHOT_DATASETS: Table = {
    "geometry_S/finished": ("", "1 when everything of this geometry is on the disk"),
    "geometry_S/positions": ("bohr", "positions in the body frame"),
    "geometry_S/orbitals": ("bohr^-3/2", "occupied orbitals, orthonormal, on the inner points of the cell, x fastest"),
    "geometry_S/energy": ("Ha", "free energy"),
    "geometry_S/forces": ("Ha/bohr", "forces on the nuclei"),
    "geometry_S/eigenvalues": ("Ha", "occupied levels"),
}

CHECKPOINT_DATASETS: Table = {
    "run/identity": ("", "what a continued run must share, JSON as bytes"),
    "dynamics/positions": ("bohr", "positions of the nuclei"),
    "dynamics/velocities": ("bohr Ha/hbar", "velocities of the nuclei"),
    "dynamics/forces": ("Ha/bohr", "forces on the nuclei"),
    "dynamics/potential_energy": ("Ha", "potential energy of the nuclei"),
    "dynamics/step": ("", "steps made"),
    "thermostat/heat": ("Ha", "heat given to the nuclei"),
    "thermostat/generator": ("", "state of the random numbers"),
    "thermostat/coordinates": ("", "coordinates of the Nose-Hoover chain"),
    "thermostat/velocities": ("Ha/hbar", "velocities of the Nose-Hoover chain"),
    "thermostat/degrees_of_freedom": ("", "degrees of freedom that the chain acts on"),
    "provider/orbitals_J": ("bohr^-3/2", "orbitals of an earlier step, the newest first"),
    "provider/positions": ("bohr", "geometries they belong to"),
    "provider/shift": ("bohr", "what is added to the coordinates of the nuclei where the molecule is computed elsewhere"),
    "provider/density_matrices": ("", "earlier density matrices over the modes"),
    "provider/permutation": ("", "order in which the body frame has the atoms"),
    "provider/guard": ("", "age of the error estimates, the estimates (Ha, Ha/bohr), whether large, and counts of all so far"),
    "provider/guard_forces": ("Ha/bohr", "latest estimate of the size of the error of each atom's force"),
    "provider/guard_density_matrix": ("", "density matrix over the modes where a solution in full starts from"),
    "provider/growth_epochs": (
        "",
        "exchanges of models that grew: number, step, geometries and modes before and after, energies before, after and in "
        "full (Ha), seconds",
    ),
    "provider/growth_gathered": ("bohr", "geometries in the body frame that wait for the model to grow by"),
    "provider/growth_model": ("", "hash of the model in use, hexadecimal digits as bytes"),
}


def pattern(path: str) -> str:
    """Return the regular expression of the paths that an entry of a table stands for."""
    return re.sub(r"(?<=[/_])[A-Z](?=/|$)", "[^/]+", path)


def annotate(group: h5py.Group, table: Table) -> None:
    """Put ``unit`` and ``description`` beside every dataset below a group that the table knows, unless they are there."""
    known = [(re.compile(pattern(path)), entry) for path, entry in table.items()]

    def put(name: str, item: object) -> None:
        if not isinstance(item, h5py.Dataset) or "description" in item.attrs:
            return
        for regular, (unit, description) in known:
            if regular.fullmatch(item.name.strip("/")):
                item.attrs.update({"description": description} | ({"unit": unit} if unit else {}))
                return

    group.visititems(put)


def place_on_grid(dataset: h5py.Dataset, cell: Sequence[float], points: Sequence[int], boundary: str) -> None:
    """Say where the points of a dataset (functions, z, y, x) are, so that it can be drawn from its file alone.

    ``origin`` is the first point and ``spacing`` the distance of neighbours (x, y, z, bohr); ``points`` are the intervals of
    the cell.  Functions vanish on the walls of an isolated cell, and only the points between them are stored: one fewer.

    Parameters
    ----------
    dataset
        The functions.
    cell, points, boundary
        Edges (bohr), intervals on them (x, y, z), and ``"isolated"`` or ``"periodic"``.
    """
    spacing = [float(edge) / int(n) for edge, n in zip(cell, points, strict=True)]
    first = 0 if boundary == "periodic" else 1
    origin = [-0.5 * float(edge) + first * h for edge, h in zip(cell, spacing, strict=True)]
    dataset.attrs.update(
        {"axes": "function z y x", "origin": origin, "spacing": spacing, "points": list(points), "boundary": boundary}
    )
