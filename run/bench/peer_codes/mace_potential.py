"""MACE as a potential of ``potential_server``; runs in the Python that has the package ``mace-torch``.

A model from scratch by its own training program: every tenth geometry validates, the best epoch is kept, double precision.
The net is a small one (``channels`` of 64, messages up to vectors), as few geometries have little to say.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import mace
from ase import Atoms
from ase.io import write
from mace.calculators import MACECalculator
from potential_server import serve

NAME = "potential"
OPTIONS = {
    "model": "MACE",
    "num_channels": 64,
    "max_L": 1,
    "r_max": 5.0,
    "E0s": "average",
    "valid_fraction": 0.1,
    "energy_key": "REF_energy",
    "forces_key": "REF_forces",
    "energy_weight": 1.0,
    "forces_weight": 100.0,
    "batch_size": 5,
    "default_dtype": "float64",
    "device": "cpu",
    "seed": 1,
}


def train(request):
    """Return energy and forces of a geometry as a function, and the number of epochs."""
    bohr, hartree, symbols = request["bohr_in_angstrom"], request["hartree_in_ev"], request["symbols"]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "train.xyz", [_structure(request, number) for number in range(len(request["positions"]))])
        options = OPTIONS | {"name": NAME, "train_file": "train.xyz", "max_num_epochs": request["epochs"], "model_dir": "."}
        words = [f"--{name}={value}" for name, value in options.items()]
        subprocess.run([sys.executable, "-m", "mace.cli.run_train", *words], cwd=folder, check=True, stdout=sys.stderr)
        calculator = MACECalculator(model_paths=str(Path(folder) / f"{NAME}.model"), device="cpu", default_dtype="float64")

    def potential(positions):
        structure = Atoms(symbols, positions * bohr, calculator=calculator)
        return structure.get_potential_energy() / hartree, structure.get_forces() * bohr / hartree

    return potential, {"epochs": request["epochs"]}


def _structure(request, number):
    """Return one training geometry with energy and forces, in eV and angstrom."""
    bohr, hartree = request["bohr_in_angstrom"], request["hartree_in_ev"]
    structure = Atoms(request["symbols"], request["positions"][number] * bohr)
    structure.info["REF_energy"] = request["energies"][number] * hartree
    structure.arrays["REF_forces"] = request["forces"][number] * hartree / bohr
    return structure


if __name__ == "__main__":
    serve(getattr(mace, "__version__", "unknown"), train)
