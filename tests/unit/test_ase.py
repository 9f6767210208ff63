"""The ASE calculator: units, conventions, ASE's own algorithms on it, both solvers, one rank or several."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import (
    CalculationFailed,
    CalculatorError,
    InputError,
    PropertyNotImplementedError,
    SCFError,
)
from ase.constraints import FixAtoms
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.units import Bohr, Hartree, fs
from ase.vibrations import Vibrations

from mpiqmd.ase import MPIQMD
from mpiqmd.errors import (
    AccuracyError,
    ConfigError,
    ConvergenceError,
    DataFileError,
    GeometryError,
    MpiqmdError,
)
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.rom.learned.body_solver import OutsideTablesError
from tests.helpers.toy_surfaces import ToySurface
from tests.helpers.workplace import H2, with_keys

LENGTH, STIFFNESS, CHARGE = 1.4, 0.37, 0.2
"""A bond of hydrogen: length (bohr), force constant (Ha/bohr^2), charge on the first atom."""

INPUT = with_keys(
    H2,
    system={"positions": [[-0.7, 0.1, 0.0], [0.75, -0.1, 0.0]]},
    scf={"frame": "body", "energy_tolerance": 1e-11},
)


class Spring(ToySurface):
    """``E = k (|R_0 - R_1| - d)^2 / 2`` in atomic units, counting how often it is asked."""

    def __init__(self) -> None:
        self.asked, self.gone_wrong, self.error, self.has_dipole = 0, False, None, True

    def at(self, positions_av, memory=None):
        if self.error is not None:
            raise self.error
        self.asked += 1
        separation_v = positions_av[0] - positions_av[1]
        distance = np.linalg.norm(separation_v)
        pull_v = -STIFFNESS * (distance - LENGTH) * separation_v / distance
        energy = np.nan if self.gone_wrong else 0.5 * STIFFNESS * (distance - LENGTH) ** 2
        extras = dict(zip(DIPOLE, (CHARGE * separation_v).tolist(), strict=True)) if self.has_dipole else {}
        extras |= {"error_estimate": 1e-5, "force_error_estimate": 2e-4, "error_age": 2.0, "hifi": 1.0}
        return Evaluation(energy, np.array([pull_v, -pull_v]), extras, {"force_error": np.array([1e-4, 2e-4])})


@pytest.fixture
def spring(comm, monkeypatch):
    """A calculator whose surface is a spring."""
    surface = Spring()
    molecule = Molecule(("H", "H"), np.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]]))
    grid = SimpleNamespace(cell_v=np.full(3, 8.0), is_periodic=False, boundary="isolated")
    calculation = SimpleNamespace(molecule=molecule, grid=grid, surface=surface)
    monkeypatch.setattr(MPIQMD, "_open", lambda self: calculation)
    return MPIQMD("spring.toml", comm=comm), surface


def stretched(calculator, bohr=1.5):
    return Atoms("H2", positions=[[0.1, 0.2, 0.3], [0.1, 0.2, 0.3 + bohr * Bohr]], calculator=calculator)


def test_units_are_those_of_ase(spring):
    calculator, _ = spring
    atoms = stretched(calculator, LENGTH + 0.1)
    energy = 0.5 * STIFFNESS * 0.01 * Hartree
    assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-6)
    assert atoms.get_potential_energy(force_consistent=True) == pytest.approx(energy, rel=1e-6)
    force = STIFFNESS * 0.1 * Hartree / Bohr
    assert np.allclose(atoms.get_forces(), [[0, 0, force], [0, 0, -force]], rtol=1e-6, atol=1e-12)
    # dipole moments in e angstrom: the charge times the bond vector
    assert np.allclose(atoms.get_dipole_moment(), CHARGE * (atoms.positions[0] - atoms.positions[1]), rtol=1e-6)
    assert calculator.results["error_estimate"] == pytest.approx(1e-5 * Hartree, rel=1e-6)
    assert calculator.results["force_error_estimate"] == pytest.approx(2e-4 * Hartree / Bohr, rel=1e-6)
    assert np.allclose(calculator.results["force_error"], np.array([1e-4, 2e-4]) * Hartree / Bohr, rtol=1e-6)
    assert calculator.results["error_age"] == 2.0 and calculator.results["hifi"] == 1.0


def test_forces_are_the_derivative_in_those_units(spring):
    atoms = stretched(spring[0])
    atoms.rotate(40, (1, 1, 0))
    expected = atoms.get_forces()
    for atom, axis in np.ndindex(2, 3):
        energies = []
        for sign in (1, -1):
            displaced = atoms.copy()
            displaced.calc = spring[0]
            displaced.positions[atom, axis] += sign * 1e-4
            energies.append(displaced.get_potential_energy())
        assert -(energies[0] - energies[1]) / 2e-4 == pytest.approx(expected[atom, axis], abs=1e-5)


def test_nothing_is_computed_twice(spring):
    calculator, surface = spring
    atoms = stretched(calculator)
    atoms.get_forces(), atoms.get_potential_energy(), atoms.get_dipole_moment(), atoms.get_forces()
    assert surface.asked == 1 and calculator.check_state(atoms) == []
    atoms.set_initial_charges([0.5, -0.5])
    atoms.get_forces()
    assert surface.asked == 1
    atoms.positions[0, 0] += 0.01
    assert calculator.check_state(atoms) == ["positions"]
    atoms.get_potential_energy()
    assert surface.asked == 2
    calculator.reset()
    atoms.get_potential_energy()
    assert surface.asked == 3


def test_conventions(spring, comm):
    calculator, _ = spring
    atoms = stretched(calculator)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    atoms.get_forces()
    assert calculator.todict() == {"input": "spring.toml"}
    assert json.loads(json.dumps(calculator.todict())) == calculator.todict()
    assert set(calculator.export_properties()) >= {"energy", "free_energy", "forces", "dipole"}
    assert MPIQMD("spring.toml", comm=comm, atoms=atoms) is atoms.calc
    assert calculator.set(input="spring.toml") == {} and calculator.results
    assert calculator.set(check_every=3) == {"check_every": 3} and not calculator.results
    assert calculator.todict() == {"input": "spring.toml", "check_every": 3}
    with pytest.raises(ConfigError, match="no parameter 'xc'"):
        calculator.set(xc="PBE")


def test_atoms_that_do_not_fit_are_refused(spring):
    calculator, surface = spring
    with pytest.raises(ConfigError, match=r"\['H', 'O'\].*input_atoms"):
        Atoms("HO", positions=[[0, 0, 0], [1, 0, 0]], calculator=calculator).get_potential_energy()
    atoms = stretched(calculator)
    atoms.pbc = True
    with pytest.raises(ConfigError, match="Set atoms.pbc = False"):
        atoms.get_forces()
    assert surface.asked == 0
    atoms.pbc = False
    assert atoms.get_potential_energy() > 0


def test_charge_and_spin_of_the_atoms_must_be_the_inputs(spring):
    calculator, surface = spring
    atoms = stretched(calculator)
    atoms.set_initial_charges([0.6, 0.4])
    with pytest.raises(ConfigError, match=r"charge of the Atoms is \+1, the input's \+0"):
        atoms.get_potential_energy()
    atoms.set_initial_charges([0.5, 0.3])
    with pytest.raises(ConfigError, match="initial_charges is 0.8, a whole number is expected"):
        atoms.get_potential_energy()
    atoms.set_initial_charges([0.5, -0.5])
    atoms.set_initial_magnetic_moments([1.0, -1.0])
    with pytest.raises(ConfigError, match="magnetic moments, up to 1; electrons in pairs"):
        atoms.get_potential_energy()
    atoms.set_initial_magnetic_moments(None)
    atoms.get_potential_energy()
    assert surface.asked == 1


def test_a_periodic_input_wants_its_own_cell(spring):
    calculator, _ = spring
    calculator._calculation.grid.is_periodic = True
    atoms = stretched(calculator)
    assert atoms.get_potential_energy() > 0
    atoms.set_cell(np.full(3, 8.0 * Bohr))
    atoms.pbc = True
    assert atoms.get_potential_energy() > 0
    atoms.set_cell(np.full(3, 8.1 * Bohr))
    with pytest.raises(ConfigError, match="use the input's cell"):
        atoms.get_potential_energy()
    assert calculator.input_atoms().pbc.all()


def test_numbers_that_are_not_finite_are_errors(spring):
    calculator, surface = spring
    surface.gone_wrong = True
    atoms = stretched(calculator)
    with pytest.raises(AccuracyError, match="not finite"):
        atoms.get_forces()
    surface.gone_wrong = False
    assert np.isfinite(atoms.get_forces()).all()


@pytest.mark.parametrize(
    ("error", "of_ase"),
    [
        (ConfigError, InputError),
        (DataFileError, InputError),
        (GeometryError, CalculationFailed),
        (ConvergenceError, SCFError),
        (AccuracyError, CalculationFailed),
        (MpiqmdError, CalculatorError),
        (OutsideTablesError, CalculationFailed),
    ],
)
def test_errors_are_of_both_worlds_and_leave_no_results(spring, error, of_ase):
    """ASE's own algorithms catch CalculatorError; after one there is nothing stale to be read."""
    calculator, surface = spring
    atoms = stretched(calculator)
    atoms.get_forces()
    surface.error = error("atom 1 is where it should not be")
    atoms.positions[0, 0] += 0.1
    for attempt in (atoms.get_forces, atoms.get_potential_energy, lambda: calculator.calculate(atoms)):
        with pytest.raises(of_ase, match="atom 1 is where it should not be") as caught:
            attempt()
        assert isinstance(caught.value, CalculatorError) and isinstance(caught.value, MpiqmdError)
        assert isinstance(caught.value.__cause__, error) and calculator.results == {}
    surface.error = None
    assert np.isfinite(atoms.get_forces()).all()


def test_what_is_not_there_is_refused_in_words(spring):
    calculator, surface = spring
    atoms = stretched(calculator)
    asked = surface.asked
    for name in ("stress", "magmoms", "charges", "energies"):
        with pytest.raises(PropertyNotImplementedError):
            calculator.get_property(name, atoms)
        with pytest.raises(PropertyNotImplementedError, match=f"no {name}; it has energy"):
            calculator.calculate(atoms, [name])
    assert surface.asked == asked and calculator.results == {}
    surface.has_dipole = False
    with pytest.raises(PropertyNotImplementedError, match="no dipole; it has"):
        atoms.get_dipole_moment()
    assert "energy" in calculator.results
    with pytest.raises(InputError, match="no Atoms to calculate"):
        MPIQMD("spring.toml", comm=calculator.comm).calculate()


def test_changes_of_the_atoms_are_noticed(spring):
    """Everything that belongs to other physics is refused even where the results are known already."""
    calculator, surface = spring
    atoms = stretched(calculator)
    atoms.get_forces()
    for charges in ([1.0, 0.0], [0.5, 0.5], [np.nan, 0.0]):
        atoms.set_initial_charges(charges)
        with pytest.raises(InputError, match=r"charge of the Atoms is \+1, the input's \+0|initial_charges is nan"):
            atoms.get_forces()
    atoms.set_initial_charges([0.3, -0.3])
    atoms.get_forces()
    atoms.set_initial_magnetic_moments([1.0, -1.0])
    with pytest.raises(InputError, match="magnetic moments"):
        atoms.get_potential_energy()
    atoms.set_initial_magnetic_moments(None)
    atoms.set_masses([2.014, 1.0])
    atoms.set_constraint(FixAtoms([0]))
    free, fixed = atoms.get_forces(apply_constraint=False), atoms.get_forces()
    assert surface.asked == 1 and not fixed[0].any() and np.array_equal(free[1], fixed[1]) and free[0].any()
    atoms.numbers[1] = 2
    with pytest.raises(InputError, match="the Atoms hold"):
        atoms.get_forces()


def test_a_failed_change_of_parameters_leaves_no_old_surface(spring, monkeypatch):
    calculator, surface = spring
    atoms = stretched(calculator)
    atoms.get_forces()
    opened = calculator._calculation

    def fails(self):
        raise DataFileError("no such model")

    monkeypatch.setattr(MPIQMD, "_open", fails)
    with pytest.raises(InputError, match="no such model"):
        calculator.set(model="missing.h5")
    with pytest.raises(InputError, match="no such model"):
        atoms.get_forces()
    monkeypatch.setattr(MPIQMD, "_open", lambda self: opened)
    atoms.get_forces()
    assert surface.asked == 2


def test_langevin_meets_an_error_that_ase_knows(spring):
    calculator, surface = spring
    atoms = stretched(calculator)
    dynamics = Langevin(atoms, 0.5 * fs, temperature_K=300, friction=0.01 / fs, fixcm=False, rng=np.random.RandomState(3))
    dynamics.attach(lambda: setattr(surface, "error", GeometryError("outside") if dynamics.nsteps == 5 else None))
    with pytest.raises(CalculatorError, match="outside"):
        dynamics.run(20)
    assert dynamics.nsteps == 5


def test_ranks_that_disagree_are_told(spring, comm):
    if comm.size == 1:
        pytest.skip("needs two ranks")
    atoms = stretched(spring[0])
    atoms.positions[0, 0] += 1e-12 * comm.rank
    assert len(set(comm.allgather(atoms.get_potential_energy()))) == 1
    atoms.positions[0, 0] += 1e-3 * (1 + comm.rank)
    with pytest.raises(ConfigError, match="differ by up to .* between the ranks"):
        atoms.get_potential_energy()


def test_bfgs_finds_the_minimum(spring):
    atoms = stretched(spring[0])
    assert BFGS(atoms, logfile=None).run(fmax=1e-4, steps=50)
    assert atoms.get_distance(0, 1) == pytest.approx(LENGTH * Bohr, abs=1e-4)


def test_vibrations(spring, shared_tmp_path):
    atoms = stretched(spring[0], LENGTH)
    vibrations = Vibrations(atoms, name=str(shared_tmp_path / "vib"), delta=0.005)
    vibrations.run()
    mass = atoms.get_masses()[0] * 1822.888486
    expected = np.sqrt(2 * STIFFNESS / mass) * Hartree / 1.239841984e-4
    assert vibrations.get_frequencies()[-1].real == pytest.approx(expected, rel=1e-4)


def test_verlet_conserves_energy_to_second_order(spring):
    def fluctuation(timestep):
        atoms = stretched(spring[0], LENGTH + 0.05)
        energies = []
        dynamics = VelocityVerlet(atoms, timestep * fs)
        dynamics.attach(lambda: energies.append(atoms.get_total_energy()), interval=1)
        dynamics.run(round(20 / timestep))
        return np.ptp(energies)

    coarse, fine = fluctuation(0.5), fluctuation(0.25)
    assert 3.5 < coarse / fine < 4.5


def write(folder, comm, text):
    path = folder / "hydrogen.toml"
    if comm.rank == 0:
        path.write_text(text)
    comm.Barrier()
    return path


def test_the_full_solver_behind_it(comm, serial_comm, shared_tmp_path):
    path = write(shared_tmp_path, comm, INPUT)
    calculator = MPIQMD(path, comm=comm, quiet=True)
    atoms = calculator.input_atoms()
    atoms.calc = calculator
    assert np.allclose(atoms.positions[1], np.array([0.75, -0.1, 0.0]) * Bohr)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    assert -2.0 < energy / Hartree < -0.5
    assert np.abs(forces.sum(axis=0)).max() < 1e-8
    displaced = [atoms.copy(), atoms.copy()]
    axis = (atoms.positions[1] - atoms.positions[0]) / atoms.get_distance(0, 1)
    for image, sign in zip(displaced, (1, -1), strict=True):
        image.calc = calculator
        image.positions[1] += sign * 0.002 * axis
    slope = (displaced[0].get_potential_energy() - displaced[1].get_potential_energy()) / 0.004
    assert -slope == pytest.approx(forces[1] @ axis, abs=2e-3)
    alone = atoms.copy()
    alone.calc = MPIQMD(path, comm=serial_comm, quiet=True)
    assert alone.get_potential_energy() == pytest.approx(energy, abs=1e-7)


def test_dynamics_is_the_same_on_all_ranks(comm, shared_tmp_path):
    calculator = MPIQMD(write(shared_tmp_path, comm, INPUT), comm=comm, quiet=True)
    atoms = calculator.input_atoms()
    atoms.calc = calculator
    atoms.set_velocities([[0.0, 0.01, 0.0], [0.005, 0.0, 0.01]])
    VelocityVerlet(atoms, 0.3 * fs).run(4)
    everywhere = comm.allgather(atoms.positions.tolist())
    assert all(positions == everywhere[0] for positions in everywhere)
    assert np.isfinite(atoms.get_total_energy())


def test_mistakes_in_the_input_are_errors_of_construction(comm, shared_tmp_path):
    with pytest.raises(ConfigError, match="points"):
        MPIQMD(write(shared_tmp_path, comm, INPUT.replace("points = 20", "points = 0")), comm=comm)
