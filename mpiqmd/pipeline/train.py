"""``mpiqmd train``: choose geometries, solve them, compress the orbitals, and check the reduced model.

The offline stage in the order it happens: ``pipeline.sampling``, ``rom.training``, ``rom.offline``, ``pipeline.checking``, and
``pipeline.rounds`` where what was made is not good enough: all of that in ``pipeline.offline``.  A molecule that turns about
one of its bonds has several models, made one after the other by ``pipeline.train_windows``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpiqmd.errors import ConfigError
from mpiqmd.molecule.images import whole
from mpiqmd.parallel.interruption import Interruption
from mpiqmd.pipeline.build import build_model, build_molecule, build_training_solver, periodic_cell
from mpiqmd.pipeline.identity import snapshot_signature
from mpiqmd.pipeline.offline import SNAPSHOT_FILE, announce, make_good_model, progress
from mpiqmd.pipeline.results import RESULT_FILE
from mpiqmd.pipeline.sampling import TrainingSources, choose_geometries, require_modes, rule_of_input, write_samples
from mpiqmd.pipeline.train_windows import train_in_windows
from mpiqmd.rom.learned.requirements import require_grid_free
from mpiqmd.rom.partial_snapshots import blocks, part_path
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.rom.training import TrainingSolver
from mpiqmd.sampling.plan import Plan
from mpiqmd.sampling.rules.rule import CandidateRule, SamplingRule, WindowedRule

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Train a reduced model, write ``model.h5``, and return what ``result.json`` holds.  Collective.

    With ``arguments.samples_only`` the geometries are chosen and written, with ``arguments.part`` a part of them is solved
    into a file of its own, and nothing more.
    """
    settings, folder = arguments.settings, arguments.folder
    molecule = build_molecule(settings, comm)
    molecule = molecule.with_positions(whole(molecule.positions_av, periodic_cell(settings)))
    model = build_model(settings, comm, molecule)
    if settings.rom.online != "grid":
        require_grid_free(model)
    interruption = Interruption(walltime=arguments.walltime, started=arguments.started)
    solver = build_training_solver(settings, model, log, arguments.groups, interruption)
    rule = rule_of_input(settings, molecule)
    sources = TrainingSources(settings, solver, molecule, folder, may_compute=arguments.part is None)
    if isinstance(rule, WindowedRule):
        return train_in_windows(arguments, rule, sources)
    assert isinstance(rule, SamplingRule)
    plan = choose_geometries(rule, sources)
    require_modes(settings.rom.rank, plan, solver.full.n_orbitals)
    if arguments.samples_only:
        return write_samples(settings, folder, plan, comm, log)
    if arguments.part is not None:
        return solve_part(arguments, plan, solver)
    return make_good_model(settings, folder, plan, solver)


def solve_part(arguments: argparse.Namespace, plan: Plan, solver: TrainingSolver) -> dict[str, Any]:
    """Solve one part of the geometries into a snapshot file of its own and return that part's result.  Collective.

    Raises ConfigError for sampling that chooses one geometry after the other.
    """
    (part, parts), log, samples = arguments.part, solver.log, plan.samples
    if isinstance(plan.rule, CandidateRule):
        raise ConfigError(
            f"--part {part}/{parts} with train.sampling = {plan.rule.name!r}: which geometry comes next depends on all before "
            "it; parts are for the other samplings. Leave --part out."
        )
    own = blocks(range(len(samples)), parts)[part - 1]
    if not own:
        log(f"part {part} of {parts}: nothing to do, there are {len(samples)} geometries")
        return {"part": [part, parts], "geometries": [], "result_file": part_path(Path(RESULT_FILE), f"part-{part}").name}
    name = f"{own[0]:04d}-{own[-1]:04d}"
    log(f"part {part} of {parts}: geometries {own[0] + 1} to {own[-1] + 1} of {len(samples)} ({samples.name})")
    signature, comm = snapshot_signature(arguments.settings, solver.model), solver.model.grid.comm
    whole = SnapshotStore(arguments.folder / SNAPSHOT_FILE, signature, comm)
    store = SnapshotStore(part_path(whole.path, name), signature, comm)
    solver.open(store, samples.chosen(own))
    solved = solver.solve(store, [index for index in store.pending if not whole.has(store.positions_sav[index])])
    announce(solved, store, log.afterwards)
    return progress(solved, store) | {
        "part": [part, parts],
        "geometries": own,
        "energies": store.energies_s,
        "result_file": part_path(Path(RESULT_FILE), name).name,
    }
