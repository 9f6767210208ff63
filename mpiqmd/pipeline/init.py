"""``mpiqmd init``: an input file for a molecule, with a cell that fits, a spacing for its elements, and what to do next."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpiqmd.config import load_input
from mpiqmd.datafiles import writing
from mpiqmd.errors import ConfigError
from mpiqmd.exchange.structure import Structure
from mpiqmd.exchange.structure_files import read_structures
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.molecule.fitted_cell import LEFT, MOTION, room
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.proposal import FUNCTIONAL, Proposal, count_electrons, propose
from mpiqmd.molecule.torsion import find_torsions
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.memory import needed_memory
from mpiqmd.sampling.rules.rule import usual_count

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

COMMENTS = 31
"""Column in which the explanations of keys begin."""
TEMPLATE = """\
# {formula}: written by `mpiqmd init`. Numbers are in atomic units, strings carry a unit.
# `mpiqmd help-input` lists every key.

[system]
structure = {structure}
{charge}
[grid]
# at least {rooms}: there {left} of its density is left, and {motion} bohr are for motion
# edges: even numbers of spacings, equal where that is nearly so or shows symmetry: {symmetries}
{cell}# bohr, along the axes of the molecule's own frame, in which it never turns
{lab_cell}# is for scf.frame = "lab", where it may turn
{spacing}# bohr: what the core of {hardest} needs; `mpiqmd check egg-box` tests it
# density = "finer"            # a third of the ripple of energies as atoms pass grid points, at two to four times the cost

[xc]
functional = "{functional}"             # with the GTH pseudopotentials that were made for it

[scf]
frame = "body"                 # solve in the molecule's own frame, as reduced models do: so both can be compared

[md]
steps = 1000
{timestep}# a tenth of the fastest vibration at most
temperature = "300 K"          # of the initial velocities; thermostat = "csvr" keeps it
{pinned}
[train]
sampling = "normal-modes"      # geometries from thermal motion about the minimum, which is found first
{turns}temperature = "400 K"          # a little wider than the dynamics needs
{count}# geometries; more for floppy molecules
force_error = "0.02 mHa/bohr"  # rms error of forces on unseen geometries that is asked for; more modes and geometries follow
"""


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Write the input file and say what it is and what to do next.  Collective.

    Raises
    ------
    ConfigError
        The file is there already, the structure holds more than one geometry or says another charge, an element has no
        pseudopotential, or the electrons are odd in number.
    DataFileError
        The structure cannot be read or the file not be written.
    """
    for line in on_rank_zero(comm, write_input, arguments, comm.size):
        log(line)
    return {}


def write_input(arguments: argparse.Namespace, ranks: int) -> list[str]:
    """Do all of :func:`run` on one rank and return the lines to print."""
    structure: Path = arguments.structure
    target = arguments.target or Path(f"{structure.stem}.toml")
    if target.exists() and not arguments.overwrite:
        raise ConfigError(
            f"{target} is there already; init writes a new file and replaces none unasked. Use --overwrite, or --input "
            "NAME.toml."
        )
    found = read_isolated(structure)
    molecule = charged(found, arguments.charge, structure)
    electrons = count_electrons(molecule)
    proposal = propose(molecule)
    relative = os.path.relpath(structure.resolve(), target.resolve().parent)
    _require_unicode(relative)
    with writing(target):
        target.write_text(input_text(molecule, proposal, relative, found.pinned), encoding="utf-8")
    settings = load_input(target)
    memory = needed_memory(settings, math.ceil(electrons / SPIN_WEIGHT), ranks) * ranks
    points, edges = (" x ".join(f"{number:g}" for number in sides) for sides in (settings.grid.points, settings.grid.cell))
    return [
        f"{target}: {molecule.formula}, {len(molecule)} atoms, {electrons} valence electrons",
        *next_steps(target),
        f"{points} points in {edges} bohr, about {memory / 1e9:.2g} GB of memory",
    ]


def read_isolated(path: Path) -> Structure:
    """Return the one geometry of a structure file.  Not collective.

    Raises ConfigError if the file holds several geometries or a crystal.
    """
    structures = read_structures(path)
    if len(structures) != 1:
        raise ConfigError(f"{path} holds {len(structures)} geometries; one is needed. Keep one frame.")
    (structure,) = structures
    if any(structure.periodic):
        raise ConfigError(
            f"{path} is periodic; init writes inputs for isolated molecules. Take the cell out of the file, or write the input "
            'by hand with grid.boundary = "periodic".'
        )
    return structure


def charged(structure: Structure, charge: int | None, path: Path) -> Molecule:
    """Return the molecule of a structure file with this charge, or the file's.  Not collective.

    Raises ConfigError if they contradict each other, GeometryError if two nuclei coincide.
    """
    if None not in (charge, structure.charge) and charge != structure.charge:
        raise ConfigError(
            f"--charge {charge} contradicts {path}, which says {structure.charge:+d}. They must agree: leave out --charge, or "
            "correct the file."
        )
    found = structure.charge if charge is None else charge
    molecule = Molecule(structure.symbols, structure.positions_av, found or 0, structure.masses_a)
    molecule.check()
    return molecule


def input_text(molecule: Molecule, proposal: Proposal, structure: str, pinned: tuple[int, ...] = ()) -> str:
    """Return the input file of a molecule in a file ``structure`` that holds the atoms ``pinned`` fixed.  Not collective."""
    shown = proposal.cell.symmetries
    return TEMPLATE.format(
        formula=molecule.formula,
        structure=_quoted(structure),
        charge=f"charge = {molecule.charge}\n" if molecule.charge else "",
        rooms=_rooms_in_words(molecule.symbols),
        left=f"{LEFT:.0e}".replace("e-0", "e-"),
        motion=MOTION,
        symmetries=f"{shown} operation{'s' * (shown > 1)}, which train uses" if shown else "the molecule has none",
        cell=f"cell = {list(proposal.cell.edges_v)}".ljust(COMMENTS),
        lab_cell=f"# cell = {proposal.cell.turning_edge}".ljust(COMMENTS),
        spacing=f"spacing = {proposal.spacing}".ljust(COMMENTS),
        hardest=proposal.hardest,
        functional=FUNCTIONAL,
        timestep=f'timestep = "{"0.5" if "H" in molecule.symbols else "1"} fs"'.ljust(COMMENTS),
        pinned=f"pinned = {list(pinned)}".ljust(COMMENTS) + "# held fixed by the structure file\n" if pinned else "",
        turns=_turns(molecule),
        count=f"# count = {usual_count(len(molecule), make_frame(molecule).n_coordinates, shown)}".ljust(COMMENTS),
    )


def _turns(molecule: Molecule) -> str:
    """Return a line on bonds that may turn; nothing without any."""
    bonds = ["-".join(molecule.labels[atom] for atom in torsion.bond) for torsion in find_torsions(molecule)]
    if not bonds:
        return ""
    written = '# sampling = "torsion"'.ljust(COMMENTS)
    return f"{written}# windows around a bond, if train warns that atoms move far: {', '.join(bonds)} may turn\n"


def next_steps(target: Path) -> list[str]:
    """Return what to do with an input file, a command and its purpose a line.  Not collective."""
    relaxed = f"{target.stem}-relax/relaxed.xyz"
    steps = [
        (f"mpiqmd check egg-box {target}", "is the grid good enough? Minutes; it says what to change"),
        (f"mpiqmd relax {target}", f'the minimum; then structure = "{relaxed}"'),
        (f"mpiqmd frequencies {target}", "vibrations, modes to look at, thermochemistry"),
        (f"mpiqmd md {target}", "Hi-Fi dynamics"),
        (f"mpiqmd train {target}", f"a reduced model; then mpiqmd md {target} --model {target.stem}-train/model.h5"),
    ]
    width = max(len(command) for command, _ in steps)
    return ["next, each also under mpirun -n N:", *(f"  {command:{width}s}  {purpose}" for command, purpose in steps)]


def _rooms_in_words(symbols: Sequence[str]) -> str:
    """Return how far the walls are from the elements at least, those with the same room together."""
    alike: dict[str, list[str]] = {}
    for symbol in sorted(set(symbols), key=room):
        alike.setdefault(f"{room(symbol):.1f}", []).append(symbol)
    return ", ".join(f"{length} bohr from {' and '.join(elements)}" for length, elements in alike.items())


def _require_unicode(path: str) -> None:
    """Raise ConfigError for a path of bytes that are no text, which no TOML file can hold."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{path} is not in UTF-8; an input file can name only what is. Rename the file or its folder."
        ) from None


def _quoted(text: str) -> str:
    """Return a TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
