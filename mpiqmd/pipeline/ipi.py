"""``mpiqmd ipi``: energies and forces for an i-PI server, on either surface.

Rank 0 talks to the server and broadcasts what it is asked; all ranks evaluate.  One process serves all beads: over one
connection one after the other, over as many connections as there are beads in batches, which a grid-free model gains from.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mpiqmd.ipi import Address, Expected
from mpiqmd.ipi.conversation import Conversation
from mpiqmd.ipi.serving import serve
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.parallel.interruption import Interruption, exit_status
from mpiqmd.pipeline.surface import build_calculation, error_checks, growth, print_checks, print_growth, seen_by
from mpiqmd.rom.watch import numbered

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Serve until the server says EXIT and return what ``result.json`` holds.  Collective."""
    address = Address.internet(arguments.address) if arguments.unix is None else Address.unix(arguments.unix)
    calculation = build_calculation(arguments, comm, log, may_learn=True)
    log(f"{calculation.solver} surface of {calculation.molecule.formula} for the i-PI server at {address}")
    log(calculation.model.describe())
    # no STOP file: the server decides when the run is over
    interruption = Interruption()
    expected = Expected(len(calculation.molecule), calculation.grid.periodic_cell_v)
    talk = Conversation(address, expected, interruption, connections=arguments.connections)
    memories = [calculation.surface.fresh(arguments.connections) for _ in range(arguments.connections)]
    with interruption.listening():
        try:
            served = serve(talk, calculation.surface, memories, comm, log)
        finally:
            talk.close()
    ended = on_rank_zero(comm, talk.why)
    log.afterwards(served.line(ended))
    print_checks(calculation.surface, seen_by(memories), log.afterwards, numbered("evaluation"))
    print_growth(calculation.surface, log.afterwards, numbered("evaluation"))
    signalled = None if ended in ("EXIT", "closed") else ended
    return (
        served.as_dict()
        | error_checks(calculation.surface, seen_by(memories))
        | growth(calculation.surface)
        | {
            "solver": calculation.solver,
            "address": str(address),
            "connections": arguments.connections,
            "ended": ended,
            "exit_status": exit_status(signalled),
        }
    )
