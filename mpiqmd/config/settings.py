"""Every section of the input file with the keys that it always has: kind, default as written, one-line description.

Each section is a frozen dataclass whose fields carry their :class:`KeySpec`; the parser, the table of ``mpiqmd help-input``,
the defaults and what a continued run must share (:mod:`mpiqmd.keys.roles`) all come from these declarations.  A field
:func:`chosen_from` a registry lets the input name one of its entries, and is followed by their keys, whose values are the
section's ``options``.  Values are in Hartree atomic units, temperatures as k_B T, angles in radians.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpiqmd.keys.composites import ListOf, OneOrThree, WordOr
from mpiqmd.keys.kinds import (
    COMPILATION_ERROR,
    COUNT,
    FUNCTIONAL,
    MASS,
    POSITIVE_COUNT,
    POSITIVE_ENERGY,
    POSITIVE_FORCE,
    POSITIVE_LENGTH,
    POSITIVE_TIME,
    SPACING,
    SYMBOL,
    TEMPERATURE,
    VECTORS,
)
from mpiqmd.keys.registries import SAMPLING_RULES, THERMOSTATS
from mpiqmd.keys.registry import Choices
from mpiqmd.keys.spec import REQUIRED, UNSET, Options, key
from mpiqmd.keys.values import Boolean, Bounds, Choice, Integer, Number, PathName, Quantity


def chosen_from(registry: Choices) -> Any:
    """Return a dataclass field that holds the name of one of the registry's entries."""
    return field(default=registry.default, metadata={"registry": registry})


@dataclass(frozen=True, kw_only=True)
class System:
    """The nuclei, in bohr and electron masses."""

    symbols: tuple[str, ...] | None = key(
        ListOf(SYMBOL), UNSET, "chemical symbols, one per atom; D and T are hydrogen of 2 and 3 Da", role="physics"
    )
    positions: tuple[tuple[float, float, float], ...] | None = key(
        ListOf(ListOf(Quantity("length"), 3)), UNSET, "positions of the nuclei; the centre of the cell is 0", role="physics"
    )
    structure: Path | None = key(
        PathName(), UNSET, "file with the molecule, any ASE reads; instead of the two above", role="physics"
    )
    charge: int = key(Integer(Bounds(-1000, 1000)), 0, "net charge of the molecule in units of e", role="physics")
    masses: tuple[float, ...] | None = key(
        ListOf(MASS), UNSET, "masses; those of the structure file, or standard atomic weights, if not given", role="physics"
    )


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The real-space grid; ``points`` always holds the three numbers of points, also when a spacing was written."""

    cell: tuple[float, float, float] = key(OneOrThree(POSITIVE_LENGTH), REQUIRED, "edge lengths of the cell", role="physics")
    points: tuple[int, int, int] = key(
        OneOrThree(Integer(Bounds(4, 100_000))), UNSET, "grid points along each edge; or give spacing", role="physics"
    )
    spacing: float | None = key(
        Quantity("length", SPACING), UNSET, "largest grid spacing; rounded to even numbers of points", role="physics"
    )
    order: int = key(Integer(Bounds(2, 12), even=True), 8, "order of the finite differences", role="physics")
    boundary: str = key(
        Choice(("isolated", "periodic")), "isolated", "free molecule, or periodic cell (Gamma point)", role="physics"
    )
    density: str = key(
        Choice(("same", "finer", "doubled")),
        "same",
        "grid of density, potentials and projectors: that of the orbitals, or one of 1.5 or 2 times as many points a side, "
        "which frees energies and forces of nearly all dependence on where the molecule lies in the grid",
        role="physics",
    )
    poisson: str = key(
        Choice(("auto", "direct", "multigrid")),
        "auto",
        "solver of Poisson's equation and of the preconditioner; auto is direct below 768^3 points",
        role="solve",
    )


@dataclass(frozen=True, kw_only=True)
class ExchangeCorrelation:
    """The exchange-correlation functional."""

    functional: str = key(
        FUNCTIONAL, "LDA", "short name, or libxc names of exchange and correlation joined by +; LDA is Teter 93", role="physics"
    )


@dataclass(frozen=True, kw_only=True)
class Pseudopotentials:
    """Where each element's pseudopotential comes from; ``table`` maps "default" and symbols to "gth" or paths."""

    table: dict[str, str] = field(default_factory=lambda: {"default": "gth"}, metadata={"role": "physics"})
    allow_mismatch: bool = key(Boolean(), False, "accept a pseudopotential made for another functional", role="free")


@dataclass(frozen=True, kw_only=True)
class SelfConsistency:
    """The full-space (Hi-Fi) solver; energies in hartree."""

    solver: str = key(
        Choice(("abpg", "slepc")), "abpg", "accelerated block gradient, or SLEPc inside an SCF loop", role="solve"
    )
    energy_tolerance: float = key(
        POSITIVE_ENERGY, 1e-9, "estimated remaining error of the energy at which to stop", role="surface"
    )
    max_iterations: int = key(POSITIVE_COUNT, 200, "give up, with an error, after so many iterations", role="free")
    electronic_temperature: float = key(
        TEMPERATURE, 0.0, "Fermi-Dirac temperature; 0 gives integer occupations", role="physics"
    )
    empty_orbitals: int = key(COUNT, 0, "orbitals beyond the occupied ones", role="surface")
    preconditioner_shift: float = key(POSITIVE_ENERGY, 1.0, "sigma of the preconditioner (T + sigma)^-1", role="solve")
    anderson_history: int = key(Integer(Bounds(0, 20)), 3, "earlier steps that the Anderson acceleration keeps", role="solve")
    extrapolation: str = key(
        Choice(("geometry", "polynomial", "aspc", "none")),
        "geometry",
        "orbitals at the start of an MD step: fitted to earlier geometries, extrapolated in time, or from atoms",
        role="surface",
    )
    extrapolation_steps: int | None = key(
        Integer(Bounds(1, 40)), UNSET, "earlier steps combined; 10, 3 and 4 if not given", role="surface"
    )
    net_force: str = key(
        Choice(("remove", "keep")),
        "remove",
        "subtract the grid's net force by mass, or keep the exact derivative",
        role="laboratory",
    )
    frame: str = key(
        Choice(("lab", "body")),
        "lab",
        "where Hi-Fi solves: as placed, or in the molecule's frame, free of orientation",
        role="laboratory",
    )


@dataclass(frozen=True, kw_only=True)
class MolecularDynamics:
    """Born-Oppenheimer dynamics; times in atomic units, temperature as k_B T in hartree."""

    steps: int = key(COUNT, 500, "number of time steps", role="free")
    timestep: float = key(POSITIVE_TIME, 40.0, "time step", role="dynamics")
    temperature: float = key(TEMPERATURE, "300 K", "of the thermostat and of random initial velocities", role="dynamics")
    thermostat: str = chosen_from(THERMOSTATS)
    options: Options = field(default_factory=Options)
    seed: int = key(COUNT, 1, "random seed of the initial velocities and of the thermostat", role="dynamics")
    remove_translation: bool = key(Boolean(), True, "start without net momentum", role="dynamics")
    remove_rotation: bool = key(Boolean(), False, "start without net angular momentum", role="dynamics")
    initial_velocities: str | tuple = key(
        WordOr(Choice(("random", "zero")), VECTORS), "random", "or three numbers per atom in atomic units", role="dynamics"
    )
    pinned: tuple[int, ...] = key(
        ListOf(COUNT, may_be_empty=True), [], "indices of atoms that do not move, from 0", role="laboratory"
    )
    constraints: tuple[tuple[int, int], ...] = key(
        ListOf(ListOf(COUNT, 2), may_be_empty=True), [], "pairs of atoms whose initial distance is kept", role="dynamics"
    )
    constraint_tolerance: float = key(
        Number(Bounds(above=0.0, maximum=1e-3)), 1e-10, "largest relative deviation of a constrained distance", role="dynamics"
    )
    output_every: int = key(POSITIVE_COUNT, 1, "steps between frames of the trajectory", role="dynamics")
    checkpoint_every: int = key(POSITIVE_COUNT, 50, "steps between checkpoints", role="free")
    checkpoint_minutes: float = key(
        Number(Bounds(above=0.0)), 10.0, "minutes after which a checkpoint is written whatever the step", role="free"
    )


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """Geometry optimisation; forces in Ha/bohr."""

    optimiser: str = key(
        Choice(("bfgs", "fire")),
        "bfgs",
        "quasi-Newton, or damped dynamics for a rough start; both are ASE's",
        role="geometries",
    )
    force_tolerance: float = key(
        Number(Bounds(above=0.0, maximum=1.0)), 3e-4, "largest force on an atom at which to stop, Ha/bohr", role="geometries"
    )
    max_steps: int = key(COUNT, 200, "give up, with an error, after so many steps", role="free")


@dataclass(frozen=True, kw_only=True)
class Frequencies:
    """Harmonic vibrations by finite differences."""

    displacement: float = key(
        Quantity("length", Bounds(above=0.0, maximum=0.5)), 0.01, "of each coordinate to either side", role="geometries"
    )
    max_force: float = key(
        Number(Bounds(above=0.0)),
        1e-2,
        "a geometry with a larger force on an atom (Ha/bohr) is refused: it is not relaxed",
        role="free",
    )
    temperature: float = key(TEMPERATURE, "298.15 K", "of the ideal gas whose enthalpy and entropy are printed", role="free")


@dataclass(frozen=True, kw_only=True)
class Training:
    """Which geometries the reduced model is trained on, and how tightly they are solved."""

    sampling: str = chosen_from(SAMPLING_RULES)
    options: Options = field(default_factory=Options)
    symmetrize: bool = key(
        Boolean(), True, "close the snapshots under the symmetry operations of the molecule that the grid has", role="training"
    )
    energy_tolerance: float = key(POSITIVE_ENERGY, 1e-10, "of the training solves, instead of [scf]'s", role="training solve")
    force_error: float = key(
        POSITIVE_FORCE,
        "0.02 mHa/bohr",
        "how good the model is to be on unseen geometries: rms error of the forces, the largest within 5 times that",
        role="free",
    )
    energy_error: float = key(
        POSITIVE_ENERGY,
        "0.01 mHa",
        "the same of energies, without the constant offset that a model has at its training geometries",
        role="free",
    )
    validation: int = key(
        COUNT,
        50,
        "unseen geometries solved in full to judge the model: half random, half frames of its own dynamics",
        role="free",
    )
    rounds: int = key(
        POSITIVE_COUNT,
        3,
        "times that a model is made at most: one that is not good enough gets more modes, the worst of new geometries, or a "
        "finer grid-free form",
        role="free",
    )
    seed: int = key(COUNT, 1, "random seed of the unseen geometries", role="free")


@dataclass(frozen=True, kw_only=True)
class ReducedModel:
    """The size of the reduced basis and the online solver."""

    energy_fraction: float = key(
        Number(Bounds(above=0.0, maximum=1.0)), 0.9999, "share kept of the singular values", role="basis"
    )
    criterion: str = key(
        Choice(("sigma", "sigma2")), "sigma", "energy_fraction counts the singular values or their squares", role="basis"
    )
    rank: int | None = key(POSITIVE_COUNT, UNSET, "number of modes; overrides energy_fraction and max_rank", role="basis")
    max_rank: int | None = key(POSITIVE_COUNT, UNSET, "most modes that energy_fraction may choose", role="basis")
    online: str = key(
        Choice(("learned", "grid")),
        "learned",
        "grid-free by a learned grid, or the reduced energy on the grid",
        role="compile",
    )
    compilation_error: float = key(
        COMPILATION_ERROR,
        5e-8,
        "energy that the grid-free form may leave out of what the modes have, about; a learned model costs more with less",
        role="basis",
    )
    minimiser: str = key(Choice(("diis", "mvp")), "diis", "commutator DIIS, or line search over density matrices", role="model")
    forces: str = key(
        Choice(("gradient", "hellmann-feynman")),
        "gradient",
        "exact gradient of the reduced energy, or rotated back",
        role="model",
    )
    tolerance: float = key(
        Number(Bounds(above=0.0, maximum=1e-2)),
        1e-9,
        "largest residual of the reduced density matrix; learned: a hundredth of the energy that a last step may gain, Ha",
        role="compile",
    )
    check_every: int = key(
        COUNT, 1000, "steps between estimates of the errors of energy and forces on the grid; 0 for none", role="watch"
    )
    error_tolerance: float | None = key(
        POSITIVE_ENERGY,
        UNSET,
        "estimated energy error that counts as large; 5 times train.energy_error if not given",
        role="watch",
    )
    force_tolerance: float | None = key(
        Number(Bounds(above=0.0, maximum=1.0)),
        UNSET,
        "estimated force error on an atom, Ha/bohr, that counts as large; 10 times train.force_error if not given",
        role="watch",
    )
    on_large_error: str = key(
        Choice(("warn-stop", "warn", "stop", "hifi", "learn")),
        "warn-stop",
        "then: warn, and stop beyond 100 times as much; warn and go on; stop; solve in full; that, and let the model grow. "
        "Outside the tables the first two solve on the grid in the reduced basis, hifi and learn in full, and stop stops",
        role="watch",
    )
    learn_batch: int = key(
        POSITIVE_COUNT,
        8,
        "with on_large_error = learn: geometries, solved in full and different enough, that the model grows by at a time; as "
        "many further out are solved for it, too",
        role="watch",
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything an input file says, checked, in atomic units.

    ``terms`` holds the sections of energy terms that were written, ``folder`` is where relative paths start.
    """

    system: System
    grid: Grid
    xc: ExchangeCorrelation = ExchangeCorrelation()
    pseudopotentials: Pseudopotentials = field(default_factory=Pseudopotentials)
    scf: SelfConsistency = SelfConsistency()
    md: MolecularDynamics = MolecularDynamics()
    relax: Relaxation = Relaxation()
    frequencies: Frequencies = Frequencies()
    train: Training = Training()
    rom: ReducedModel = ReducedModel()
    terms: dict[str, Options] = field(default_factory=dict)
    folder: Path = Path()

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return the sections as plain dictionaries that JSON can hold (paths as strings, tuples as lists)."""
        terms = {name: _plain(vars(options)) for name, options in self.terms.items()}
        return {name: _plain(_flat(getattr(self, name))) for name in SECTIONS} | terms


SECTIONS: dict[str, type] = {
    "system": System,
    "grid": Grid,
    "xc": ExchangeCorrelation,
    "pseudopotentials": Pseudopotentials,
    "scf": SelfConsistency,
    "md": MolecularDynamics,
    "relax": Relaxation,
    "frequencies": Frequencies,
    "train": Training,
    "rom": ReducedModel,
}
"""The sections of an input file by name, in the order of the table of keys."""


def _flat(section: Any) -> dict[str, Any]:
    """Return the values of a section by key, those of its options where the table of keys has them."""
    flat: dict[str, Any] = {}
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        if item.name == "options":
            flat |= vars(value)
        else:
            flat[item.name] = dict(value) if isinstance(value, dict) else value
    return flat


def _plain(value: Any) -> Any:
    """Return a value with tuples as lists and paths as strings, recursively."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
