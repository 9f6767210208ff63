"""GTH oxygen, published parameters, as UPF and psp8 files in the shapes that their generators give them."""

from __future__ import annotations

from math import gamma

import numpy as np
from scipy.special import erf

VALENCE, WIDTH, C1, C2, REACH, COUPLING = 6.0, 0.24762086, -16.58031797, 2.39570092, 0.22178614, 18.26691718
MESH_R = 0.005 * np.arange(2001)
_SAFE_R = np.maximum(MESH_R, 1e-12)
LOCAL_R = -VALENCE / _SAFE_R * erf(_SAFE_R / (2**0.5 * WIDTH)) + np.exp(-0.5 * (MESH_R / WIDTH) ** 2) * (
    C1 + C2 * (MESH_R / WIDTH) ** 2
)
BETA_R = MESH_R * 2**0.5 * np.exp(-0.5 * (MESH_R / REACH) ** 2) / (REACH**1.5 * gamma(1.5) ** 0.5)
CORE_R = 0.3 * np.exp(-((MESH_R / 0.5) ** 2))


def numbers(values):
    return "\n" + "\n".join(f"{value:.15e}" for value in values) + "\n"


def upf(betas=((0, BETA_R),), couplings=(COUPLING,), header="", more="", core_r=None, **attributes):
    """A UPF file; ``attributes`` of its header replace what a good file has, ``more`` are further elements."""
    n = len(betas)
    known = {
        "element": "O",
        "pseudo_type": "NC",
        "relativistic": "scalar",
        "is_ultrasoft": "F",
        "is_paw": "F",
        "is_coulomb": "F",
        "has_so": "F",
        "core_correction": "F" if core_r is None else "T",
        "functional": "PZ",
        "z_valence": "6.0",
        "l_max": str(max((momentum for momentum, _ in betas), default=-1)),
        "l_local": "-1",
        "mesh_size": str(len(MESH_R)),
        "number_of_proj": str(n),
    } | attributes
    words = " ".join(f'{name}="{value}"' for name, value in known.items() if value is not None)
    nonlocal_part = "".join(
        f'<PP_BETA.{index} angular_momentum="{momentum}">{numbers(beta_r)}</PP_BETA.{index}>\n'
        for index, (momentum, beta_r) in enumerate(betas, start=1)
    )
    if n:
        nonlocal_part += f"<PP_DIJ>{numbers(np.diag(2 * np.array(couplings)).ravel())}</PP_DIJ>\n"
    return "\n".join(
        [
            '<UPF version="2.0.1">',
            f"<PP_HEADER {words} {header}/>",
            f"<PP_MESH>\n<PP_R>{numbers(MESH_R)}</PP_R>\n</PP_MESH>",
            "" if core_r is None else f"<PP_NLCC>{numbers(core_r)}</PP_NLCC>",
            f"<PP_LOCAL>{numbers(2 * LOCAL_R)}</PP_LOCAL>",
            f"<PP_NONLOCAL>\n{nonlocal_part}</PP_NONLOCAL>",
            more,
            "</UPF>\n",
        ]
    )


def semilocal(l=0):  # noqa: E741
    """The element in which a semilocal file has its channels."""
    potential_r = 2 * LOCAL_R + 9 * np.exp(-0.5 * (MESH_R / REACH) ** 2)
    return f'<PP_SEMILOCAL>\n<PP_VNL.1 L="{l}">{numbers(potential_r)}</PP_VNL.1>\n</PP_SEMILOCAL>'


def rows(*columns):
    """Rows ``i r f g ...``."""
    table = np.column_stack([MESH_R, *columns])
    return "\n".join(f"{index:6d} " + " ".join(f"{value:.15e}" for value in row) for index, row in enumerate(table, start=1))


def psp8(channels=((0, BETA_R, COUPLING),), nproj=None, fchrg="0.0", extension="0", more="", lmax=None, local="4"):
    """A psp8 file; the keywords replace what a good file has, ``more`` are further rows."""
    nproj = nproj or " ".join(["1"] * len(channels) + ["0"] * (5 - len(channels)))
    lines = [
        "O GTH as psp8",
        " 8.0 6.0 261129 zatom,zion,pspd",
        f" 8 2 {len(channels) - 1 if lmax is None else lmax} {local} {len(MESH_R)} 0 pspcod,pspxc,lmax,lloc,mmax,r2well",
        f" {MESH_R[-1]:.8f} {fchrg} 0.0 rchrg fchrg qchrg",
        f" {nproj} nproj",
        f" {extension} extension_switch",
    ]
    for momentum, beta_r, coupling in channels:
        lines += [f"{momentum} {coupling:.13e}", rows(beta_r)]
    return "\n".join([*lines, "4", rows(LOCAL_R), *([more] if more else [])]) + "\n"
