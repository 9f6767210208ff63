"""The laboratory as a frame: nothing turns; an isolated molecule may be moved into its cell, and a net force is taken out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.molecule.body_surface import BodyMemory
from mpiqmd.molecule.evaluation import remove_net_force
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.placement import Placement
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.molecule.surface import Memory
from mpiqmd.parallel.comm import decide

if TYPE_CHECKING:
    from mpi4py import MPI


@dataclass(frozen=True, eq=False)
class LaboratoryAlignment(Alignment):
    """A geometry shifted by ``-origin_v``, and the way back.

    Attributes
    ----------
    masses_a
        Masses by which the net force is taken out; None leaves it in.
    charge
        Of the molecule: the dipole moment of an ion depends on the origin.
    """

    masses_a: np.ndarray | None = None
    charge: float = 0.0

    def gradient_forces(self, body_gradient_av: np.ndarray) -> np.ndarray:
        """Return the forces, shape (N, 3), Ha/bohr.  Not collective."""
        return -body_gradient_av if self.masses_a is None else remove_net_force(-body_gradient_av, self.masses_a)

    def dipole(self, body_dipole_v: np.ndarray) -> np.ndarray:
        """Return the dipole moment about the laboratory's origin, shape (3,), atomic units.  Not collective."""
        return body_dipole_v + self.charge * self.origin_v


class LaboratoryFrame:
    """Leaves molecules as they are, or shifts them into an isolated cell.  Construction is not collective.

    Parameters
    ----------
    comm
        Communicator of the surface.
    molecule
        The molecule, where it begins.
    net_force
        ``"remove"`` subtracts the grid's net force mass-weighted, ``"keep"`` leaves the exact derivative of the discrete
        energy.
    cell_v
        Edges (3,) of an isolated cell, bohr, into which the molecule is moved; None computes it where its coordinates are.
    anew
        Place every geometry on its own, whatever came before.
    log
        Hears where a molecule is moved.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        molecule: Molecule,
        net_force: str = "remove",
        *,
        cell_v: np.ndarray | None = None,
        anew: bool = False,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.comm, self.molecule, self.cell_v, self.anew, self.log = comm, molecule, cell_v, anew, log
        self.masses_a = molecule.masses_a if net_force == "remove" else None
        place = self.fresh()
        if log is not None and isinstance(place, Placement) and place.state():
            # here already, and not at the first geometry, which differs where a run is continued
            log(place.describe())

    def fresh(self) -> Memory:
        """Return where the molecule is computed at its beginning.  Not collective."""
        if self.cell_v is None:
            return Memory()
        placement = Placement(self.cell_v, self.anew)
        placement.place(self.molecule.positions_av)
        return placement

    def align(self, positions_av: np.ndarray, memory: BodyMemory) -> Alignment:
        """Return the geometry where it is computed; electrons of another place are forgotten.  Collective."""
        placement, shift_v = memory.place, np.zeros(3)
        if isinstance(placement, Placement):
            if decide(self.comm, placement.place(positions_av)):
                memory.electrons.forget()
                if self.log is not None and not self.anew:
                    self.log(placement.describe())
            shift_v = placement.shift_v = decide(self.comm, placement.shift_v)
        return LaboratoryAlignment(
            body_positions_av=positions_av + shift_v,
            rotation_vv=np.eye(3),
            origin_v=-shift_v,
            permutation_a=np.arange(len(positions_av)),
            masses_a=self.masses_a,
            charge=self.molecule.charge,
        )
