"""The state of a run and one step of it; lives on rank 0 and knows neither files nor communicators."""

from __future__ import annotations

import numpy as np

from mpiqmd.datafiles import Shapes, Unfit
from mpiqmd.errors import AccuracyError
from mpiqmd.md.integrator import drift, kick
from mpiqmd.md.nuclei import Nuclei
from mpiqmd.md.observables import kinetic_energy
from mpiqmd.md.thermostats.thermostat import Thermostat
from mpiqmd.md.trajectory_writer import Frame
from mpiqmd.molecule.evaluation import Evaluation


class Dynamics:
    """Positions, velocities and forces of the nuclei, and the step that moves them.

    A step is :meth:`propose` (kick, drift), the surface's evaluation at the proposed positions, and
    :meth:`accept` (kick).  Before the first step :meth:`accept` takes the evaluation at the initial
    positions.  With constraints every kick and drift ends on them.

    Parameters
    ----------
    nuclei
        Masses, pinned atoms and degrees of freedom.
    positions_av, velocities_av
        Initial conditions, shape (N, 3), bohr and atomic units of velocity.
    timestep
        Length of a step, atomic units of time.
    thermostat
        What acts besides the forces.
    """

    def __init__(
        self,
        nuclei: Nuclei,
        positions_av: np.ndarray,
        velocities_av: np.ndarray,
        timestep: float,
        thermostat: Thermostat,
    ) -> None:
        self.nuclei = nuclei
        self.positions_av = np.array(positions_av, dtype=float)
        self.velocities_av = np.array(velocities_av, dtype=float)
        self.timestep = float(timestep)
        self.thermostat = thermostat
        self.evaluation: Evaluation | None = None
        self.step = 0
        self._half_intervals_a1 = (0.5 * self.timestep * nuclei.inverse_masses_a)[:, None]
        self._half_step: tuple[np.ndarray, np.ndarray] | None = None
        self._thermostat_before: dict[str, np.ndarray] | None = None

    @property
    def time(self) -> float:
        """Time since the start, atomic units; a product, so that it does not accumulate round-off."""
        return self.step * self.timestep

    def propose(self) -> np.ndarray:
        """Return the positions (N, 3), bohr, at which the next evaluation is wanted.

        Raises
        ------
        AccuracyError
            They are not finite, or the constraints cannot be kept.
        """
        if self.evaluation is None:
            return self.positions_av
        nuclei, timestep, positions_av = self.nuclei, self.timestep, self.positions_av
        self._thermostat_before = self.thermostat.state()
        velocities_av = self.thermostat.before(self.velocities_av, positions_av, nuclei, timestep)
        velocities_av = self._half_kick(velocities_av, positions_av, self.evaluation.forces_av)
        positions_av, velocities_av = self._half_drift(positions_av, velocities_av)
        velocities_av = self.thermostat.middle(velocities_av, positions_av, nuclei, timestep)
        positions_av, velocities_av = self._half_drift(positions_av, velocities_av)
        if not np.isfinite(positions_av).all():
            raise AccuracyError(f"the positions proposed for MD step {self.step + 1} hold NaN or infinity")
        self._half_step = positions_av, velocities_av
        return positions_av

    def _half_kick(self, velocities_av: np.ndarray, positions_av: np.ndarray, forces_av: np.ndarray) -> np.ndarray:
        velocities_av = kick(velocities_av, forces_av, self._half_intervals_a1)
        constraints = self.nuclei.constraints
        return velocities_av if constraints is None else constraints.tangent(velocities_av, positions_av)

    def _half_drift(self, positions_av: np.ndarray, velocities_av: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        half, constraints = 0.5 * self.timestep, self.nuclei.constraints
        if constraints is None:
            return drift(positions_av, velocities_av, half), velocities_av
        try:
            return constraints.drift(positions_av, velocities_av, half)
        except AccuracyError as error:
            raise AccuracyError(f"MD step {self.step + 1}: {error}") from None

    def accept(self, evaluation: Evaluation) -> None:
        """Finish the step (or the start) with the evaluation at the proposed positions.

        Raises
        ------
        AccuracyError
            Energy or forces are not finite, or the forces have the wrong shape.
        """
        forces_av = np.asarray(evaluation.forces_av, dtype=float)
        step = self.step if self.evaluation is None else self.step + 1
        if forces_av.shape != self.positions_av.shape:
            raise AccuracyError(f"forces of MD step {step} have shape {forces_av.shape}, not {self.positions_av.shape}")
        if not (np.isfinite(evaluation.energy) and np.isfinite(forces_av).all()):
            raise AccuracyError(
                f"energy or forces of MD step {step} hold NaN or infinity (energy {evaluation.energy}), "
                "where finite numbers are needed"
            )
        if self._half_step is not None:
            positions_av, velocities_av = self._half_step
            velocities_av = self._half_kick(velocities_av, positions_av, forces_av)
            velocities_av = self.thermostat.after(velocities_av, positions_av, self.nuclei, self.timestep)
            self.positions_av, self.velocities_av = positions_av, velocities_av
        self._half_step = self._thermostat_before = None
        self.evaluation = Evaluation(float(evaluation.energy), forces_av, dict(evaluation.extras), dict(evaluation.per_atom))
        self.step = step

    @property
    def _present(self) -> Evaluation:
        """The evaluation of this step, which there is once the first is accepted."""
        assert self.evaluation is not None
        return self.evaluation

    @property
    def conserved_energy(self) -> float:
        """The energy that exact dynamics would conserve, Ha: total energy and the thermostat's part."""
        kinetic = float(kinetic_energy(self.velocities_av, self.nuclei.masses_a))
        return self._present.energy + kinetic + self.thermostat.conserved_offset

    def observables(self) -> dict[str, float]:
        """Return the energies (Ha), temperature (k_B T, Ha) and the surface's extras of this step."""
        kinetic = float(kinetic_energy(self.velocities_av, self.nuclei.masses_a))
        evaluation = self._present
        total = evaluation.energy + kinetic
        return {
            "potential_energy": evaluation.energy,
            "kinetic_energy": kinetic,
            "total_energy": total,
            "conserved_energy": total + self.thermostat.conserved_offset,
            "temperature": self.nuclei.temperature(self.velocities_av),
            **{name: float(value) for name, value in evaluation.extras.items()},
        }

    def frame(self) -> Frame:
        """Return the present step as a frame of a trajectory."""
        forces_av, per_atom = self._present.forces_av, self._present.per_atom
        return Frame(self.step, self.time, self.positions_av, self.velocities_av, forces_av, self.observables(), per_atom)

    def state(self) -> dict[str, np.ndarray]:
        """Return the arrays of the last finished step that an exact restart needs; the thermostat's own come on top.

        Positions, velocities and forces have shape (N, 3), energy and step none; atomic units.  Not collective.
        """
        return {
            "positions": self.positions_av,
            "velocities": self.velocities_av,
            "forces": self._present.forces_av,
            "potential_energy": np.array(self._present.energy),
            "step": np.array(self.step, dtype=np.int64),
        }

    def thermostat_state(self) -> dict[str, np.ndarray]:
        """Return what the thermostat needs to continue from the last finished step, a step under way or not.

        Arrays of its own shape, atomic units (:meth:`~mpiqmd.md.thermostats.thermostat.Thermostat.state`).
        """
        before = self._thermostat_before
        return self.thermostat.state() if before is None else before

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what :meth:`state` returned.

        Raises
        ------
        Unfit
            An array is not of this molecule, or holds NaN.
        """
        shapes = Shapes(a=len(self.positions_av))
        arrays = {name: shapes.numbers(name, state[name], "a 3") for name in ("positions", "velocities", "forces")}
        self.positions_av, self.velocities_av = arrays["positions"].copy(), arrays["velocities"].copy()
        energy = float(shapes.numbers("potential_energy", state["potential_energy"], ""))
        self.evaluation = Evaluation(energy, arrays["forces"].copy())
        self.step = int(shapes.numbers("step", state["step"], "", integer=True))
        if self.step < 0:
            raise Unfit(f"step is {self.step}, at least 0 is expected")
        self._half_step = self._thermostat_before = None
