"""The calculator: units and conventions of ASE around a surface.

This is the one door where energies are in eV and lengths in angstrom.  Under ``mpirun`` every rank runs the same ASE
script and the calculator is collective: all ranks ask for the same geometries in the same order.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes, all_properties

# ASE looks for mpi4py among the modules already imported when it first asks for its ranks; without it, every rank of a
# job takes itself for the only one and writes the same files.
from mpi4py import MPI

from mpiqmd.ase.errors import errors_of_ase
from mpiqmd.ase.fitting import require_fitting_atoms, require_properties
from mpiqmd.errors import AccuracyError, ConfigError
from mpiqmd.exchange.structure_files import require_same_electrons
from mpiqmd.launcher import singletons_message
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation
from mpiqmd.molecule.judgement import judgement_for_ase, per_atom_for_ase
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.units import BOHR_IN_ANGSTROM, DALTON_IN_ELECTRON_MASS, HARTREE_IN_EV

if TYPE_CHECKING:
    from mpiqmd.config.settings import Settings
    from mpiqmd.pipeline.surface import Calculation

SAME_POSITION = 1e-8
"""Angstrom that positions of one atom may differ between ranks: round-off, not different geometries."""

SHARED = {"world": MPI.COMM_WORLD, "self": MPI.COMM_SELF}
"""Communicators that every process has; a copy in another process can have no other."""


class MPIQMD(Calculator):
    """Energy, forces and dipole moment of the molecule of an input file, with the Hi-Fi solver or a reduced model.

    The physics (grid, functional, pseudopotentials, charge) is the input file's; the positions are those of the Atoms.
    Construction is collective over ``comm``, and so is every calculation.  Copies, by ``copy`` or ``pickle``, have a surface of
    their own, which is made of the same input at their first calculation.

    Parameters
    ----------
    input
        Input file, as for the commands.
    model
        Reduced model made by ``mpiqmd train``; without it the full solver.
    comm
        Communicator of mpi4py; by default all ranks of the job.  With ``MPI.COMM_SELF`` each rank computes on its own.
    check_every
        Evaluations between error estimates of a reduced model, instead of the input's ``rom.check_every``; 1 for all.
    quiet
        Print no line about the model and no warning.
    atoms
        Atoms to attach the calculator to.

    Attributes
    ----------
    results
        ``energy`` and ``free_energy`` (eV; both are the free energy of the electrons, whose derivative the forces are),
        ``forces`` (eV/angstrom), ``dipole`` (e angstrom, where the surface has one), and beside ASE's own properties
        ``error_estimate`` (eV, the latest one), ``force_error_estimate`` (eV/angstrom, the largest of the atoms) and
        ``force_error`` (of each atom), ``error_age`` (evaluations since then), ``training_distance`` (1 as far from the
        geometries of the training as these are apart), ``hifi`` (1 where solved in full) and ``on_grid`` (1 where the reduced
        energy was solved on the grid) of a reduced model; no estimate where it has no energy.

    Raises
    ------
    ConfigError, DataFileError, GeometryError, ConvergenceError, AccuracyError
        The input, the model or the atoms do not fit together, a geometry is where the model does not go, or a calculation
        fails.  All are ``CalculatorError`` of ASE too (``InputError``, ``CalculationFailed``, ``SCFError``).
    """

    name = "mpiqmd"
    implemented_properties = ["energy", "free_energy", "forces", "dipole"]  # noqa: RUF012  (ASE's own convention)
    default_parameters = {"model": None, "check_every": None}  # noqa: RUF012
    # Net charge and spin are the input's.
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(
        self,
        input: str | os.PathLike[str],
        model: str | os.PathLike[str] | None = None,
        comm: MPI.Comm | None = None,
        check_every: int | None = None,
        quiet: bool = False,
        atoms: Atoms | None = None,
    ) -> None:
        self.comm = MPI.COMM_WORLD if comm is None else comm
        self.quiet = quiet
        self._settings: Settings | None = None
        self._opened: Calculation | None = None
        self._asking: Owner | None = None
        super().__init__(
            input=os.fspath(input),
            model=None if model is None else os.fspath(model),
            check_every=check_every,
            atoms=atoms,
        )

    def set(self, **parameters: Any) -> dict[str, Any]:
        """Change ``input``, ``model`` or ``check_every`` and return what changed; earlier results are forgotten.

        Collective.  Raises ConfigError for another name.
        """
        with errors_of_ase():
            known = ("input", "model", "check_every")
            unknown = [name for name in parameters if name not in known]
            if unknown:
                raise ConfigError(f"MPIQMD has no parameter {unknown[0]!r}; allowed are {', '.join(known)}. Correct the name.")
            changed = super().set(**parameters)
            if changed:
                self.reset()
                self._settings = self._opened = None
                self._opened = self._open()
        return changed

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute all properties of a geometry at once and put them into ``results``.

        Collective.  Raises ConfigError if the atoms are not the input's, or differ between ranks, AccuracyError if the energy
        or a force is not finite, and ASE's PropertyNotImplementedError for what this surface does not have.  After any error
        there are no results.
        """
        self.results = {}
        with errors_of_ase():
            super().calculate(atoms, properties, system_changes)
            require_fitting_atoms(self.atoms, self._calculation.molecule, self._calculation.grid, self.parameters["input"])
            require_properties(properties, self.implemented_properties)
            self.results = in_units_of_ase(self._evaluated())
        require_properties(properties, self.results)

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """Return a property, computed if something has changed.  Collective.

        Raises ConfigError for charges and magnetic moments that are not the input's, and as :meth:`calculate`.
        """
        if atoms is not None:
            with errors_of_ase():
                require_same_electrons(atoms, self._calculation.molecule.charge)
        return super().get_property(name, atoms, allow_calculation)

    def _evaluated(self) -> Evaluation:
        """Return what the surface says about the atoms.  Collective.  Raises AccuracyError if it is not finite."""
        evaluation = self._owner.at(self._positions_of_all_ranks() / BOHR_IN_ANGSTROM)
        if not (np.isfinite(evaluation.energy) and np.isfinite(evaluation.forces_av).all()):
            raise AccuracyError(
                f"energy ({evaluation.energy}) or forces at this geometry are not finite; numbers are expected. Check for "
                "atoms on top of each other, or start from another geometry."
            )
        return evaluation

    def export_properties(self) -> Any:
        """Return ASE's own properties among the results.  Not collective."""
        from ase.outputs import Properties

        return Properties({name: value for name, value in self.results.items() if name in all_properties})

    def input_atoms(self) -> Atoms:
        """Return the molecule of the input file at its initial positions, without a calculator.  Not collective."""
        molecule, grid = self._calculation.molecule, self._calculation.grid
        return Atoms(
            molecule.symbols,
            positions=molecule.positions_av * BOHR_IN_ANGSTROM,
            masses=molecule.masses_a / DALTON_IN_ELECTRON_MASS,
            cell=grid.cell_v * BOHR_IN_ANGSTROM if grid.is_periodic else None,
            pbc=grid.is_periodic,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> MPIQMD:
        """Return a calculator on the same communicator with a surface of its own.  Not collective."""
        return rebuilt(type(self), deepcopy(self._portable(), memo), self.comm)

    def __copy__(self) -> MPIQMD:
        """Return the same as a deep copy: two calculators never share a surface.  Not collective."""
        return self.__deepcopy__({})

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what another process needs to make the calculator again.  Not collective.

        Raises ConfigError for a communicator that another process cannot have.
        """
        name = next((name for name, comm in SHARED.items() if comm == self.comm), None)
        with errors_of_ase():
            if name is None:
                raise ConfigError(
                    "a calculator on a communicator of its own cannot be pickled: another process has no such communicator. "
                    "Allowed are the default and MPI.COMM_SELF. Construct MPIQMD where it is used."
                )
        return rebuilt, (type(self), self._portable(), name)

    def _portable(self) -> dict[str, Any]:
        """Return everything but communicator and surface, with paths that hold in any folder."""
        parameters = dict(self.parameters)
        for name in ("input", "model"):
            if parameters[name] is not None:
                parameters[name] = os.path.abspath(parameters[name])
        attributes = {"quiet": self.quiet, "_settings": self._settings, "results": self.results, "atoms": self.atoms}
        return {"parameters": parameters, **attributes}

    @property
    def _calculation(self) -> Calculation:
        """Molecule and surface, opened when they are first needed.  Collective."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    @property
    def _owner(self) -> Owner:
        """The surface and this calculator's memory of it.  Collective."""
        surface = self._calculation.surface
        if self._asking is None or self._asking.surface is not surface:
            self._asking = Owner(surface)
        return self._asking

    def _open(self) -> Calculation:
        """Return the molecule and the surface that the parameters name.  Collective."""
        from mpiqmd.config import load_input
        from mpiqmd.parallel.log import Log
        from mpiqmd.pipeline.surface import build_calculation

        message = singletons_message(MPI.COMM_WORLD.size)
        if message and MPI.Comm.Compare(self.comm, MPI.COMM_SELF) != MPI.IDENT:
            raise ConfigError(message)
        parameters = self.parameters
        model = None if parameters["model"] is None else Path(parameters["model"])
        if self._settings is None:
            self._settings = on_rank_zero(self.comm, load_input, Path(parameters["input"]))
        settings = self._settings
        if parameters["check_every"] is not None:
            settings = replace(settings, rom=replace(settings.rom, check_every=parameters["check_every"]))
        arguments = argparse.Namespace(settings=settings, model=model)
        return build_calculation(arguments, self.comm, Log(self.comm, quiet=self.quiet))

    def _positions_of_all_ranks(self) -> np.ndarray:
        """Return rank 0's positions in angstrom.  Collective.  Raises ConfigError on all ranks if others differ."""
        assert self.atoms is not None
        positions_av = decide(self.comm, self.atoms.positions.copy())
        difference = float(np.abs(self.atoms.positions - positions_av).max())
        largest = max(self.comm.allgather(difference))
        # a comparison with NaN is false: positions that are not numbers go on to the check of the geometry
        if largest > SAME_POSITION:
            raise ConfigError(
                f"positions differ by up to {largest:.3g} angstrom between the ranks of the job; all must ask for the same "
                "geometry. Seed random numbers alike on all ranks, or give MPIQMD(..., comm=MPI.COMM_SELF) to let each rank "
                "compute on its own."
            )
        return positions_av


def rebuilt(kind: type[MPIQMD], portable: dict[str, Any], comm: MPI.Comm | str) -> MPIQMD:
    """Return a calculator from what a copy or another process brings; its surface is opened later.  Not collective."""
    calculator = kind.__new__(kind)
    calculator.comm = SHARED[comm] if isinstance(comm, str) else comm
    calculator._opened = calculator._asking = None
    Calculator.__init__(calculator)
    calculator.parameters.update(portable["parameters"])
    for name in ("quiet", "_settings", "results", "atoms"):
        setattr(calculator, name, portable[name])
    return calculator


def in_units_of_ase(evaluation: Evaluation) -> dict[str, Any]:
    """Return energy and free energy (eV), forces (eV/angstrom) and what else is known.  Not collective."""
    extras = evaluation.extras
    energy = float(evaluation.energy) * HARTREE_IN_EV
    results: dict[str, Any] = {
        "energy": energy,
        "free_energy": energy,
        "forces": evaluation.forces_av * (HARTREE_IN_EV / BOHR_IN_ANGSTROM),
    }
    if all(name in extras for name in DIPOLE):
        results["dipole"] = np.array([extras[name] for name in DIPOLE]) * BOHR_IN_ANGSTROM
    return results | judgement_for_ase(extras) | per_atom_for_ase(evaluation.per_atom)
