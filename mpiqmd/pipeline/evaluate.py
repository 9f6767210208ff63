"""``mpiqmd evaluate``: energies and forces of many geometries, with either solver."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.kohnsham.checks import GroundStateWatch
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.md.provider import ForceProvider
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.build import build_hifi_provider, build_model, build_molecule, read_frames
from mpiqmd.pipeline.reduced import build_rom_provider
from mpiqmd.pipeline.structure import Structure
from mpiqmd.pipeline.structures import write_structures
from mpiqmd.pipeline.surface import error_checks, print_checks

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Evaluate every geometry of a file; write ``evaluated.extxyz`` and return what ``result.json`` holds.  Collective."""
    settings = arguments.settings
    molecule = build_molecule(settings, comm)
    positions_sav = read_frames(settings, molecule, arguments.structures, comm)
    model = build_model(settings, comm, molecule)
    provider = _provider(arguments, settings, model, molecule, log)
    evaluations, seconds = [], []
    for index, positions_av in enumerate(positions_sav):
        started = time.perf_counter()
        evaluations.append(provider.evaluate(positions_av))
        seconds.append(time.perf_counter() - started)
        energy = evaluations[-1].energy
        log.progress(
            f"  geometry {index + 1}/{len(positions_sav)}: {energy:.8f} Ha, {seconds[-1]:.2g} s",
            last=index + 1 == len(positions_sav),
        )
    energies_s = np.array([evaluation.energy for evaluation in evaluations])
    forces_sav = np.array([evaluation.forces_av for evaluation in evaluations])
    target = arguments.folder / "evaluated.extxyz"
    on_rank_zero(
        comm, write_structures, target, Structure.of_input(settings, molecule), positions_sav, energies_s, forces_sav
    )
    log(f"{len(energies_s)} geometries written to {target}")
    print_checks(provider, log, "geometry")
    return {
        "solver": "hifi" if arguments.model is None else "rom",
        "online": settings.rom.online if arguments.model else None,
        "forces_as": _forces_as(arguments, settings),
        "body_frame": bool(_in_body_frame(arguments) or arguments.model),
        "positions": positions_sav,
        "energies": energies_s,
        "forces": forces_sav,
        "extras": {name: [e.extras.get(name) for e in evaluations] for name in evaluations[0].extras},
        "seconds_per_geometry": float(np.median(seconds)),
        **error_checks(provider),
    }


def _forces_as(arguments: argparse.Namespace, settings: Settings) -> str:
    """Return how the forces were made: ``rom.forces``, ``gradient`` through the body frame, or the net-force treatment."""
    if arguments.model is not None:
        return settings.rom.forces
    if _in_body_frame(arguments):
        return "gradient"
    return "net force kept" if settings.md.pinned else f"net force {_TREATED[settings.scf.net_force]}"


_TREATED = {"remove": "removed", "keep": "kept"}


def _provider(
    arguments: argparse.Namespace, settings: Settings, model: KohnShamModel, molecule: Molecule, log: Log
) -> ForceProvider:
    if arguments.model is not None:
        return build_rom_provider(settings, model, arguments.model, log, check_every=1)[0]
    in_body = _in_body_frame(arguments)
    watch = GroundStateWatch(model, log)
    return build_hifi_provider(settings, model, molecule, extrapolation=None, body_frame=in_body, watch=watch)


def _in_body_frame(arguments: argparse.Namespace) -> bool:
    """Return whether geometries are solved in the body frame: asked for here, or by the input."""
    return bool(arguments.body_frame or arguments.settings.scf.frame == "body")
