"""sGDML as a potential of ``potential_server``; runs in the Python that has the package ``sgdml``.

As its documentation has it: a kernel length is chosen among several by the force error on geometries held out, with the
package's own regularisation.  Every fifth geometry is held out for this, then all are trained on with the length chosen.
With ``symmetric`` the package looks for permutations of like atoms in the geometries trained on (sGDML), otherwise there are
none (GDML).  NumPy on one core, which its authors recommend without a GPU.
"""

import logging

import numpy as np
import sgdml
from potential_server import serve
from sgdml.predict import GDMLPredict
from sgdml.train import GDMLTrain
from sgdml.utils import io

LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Kernel lengths tried, for distances in angstrom; the package's command line tries 10, 20, ..., 100."""
HELD_OUT = 5
"""Every how many geometries one is held out."""

trainer = GDMLTrain(max_processes=1)


def train(request):
    """Return energy and forces of a geometry as a function, and length, permutations and held-out error (Ha/bohr)."""
    bohr = request["bohr_in_angstrom"]
    held = np.arange(len(request["positions"])) % HELD_OUT == HELD_OUT - 1
    chosen, validated = _dataset(request, ~held), _dataset(request, held)
    task = _task(chosen, validated, request["symmetric"])
    rms = {}
    for length in LENGTHS:
        predict = _predictor(trainer.train(task | {"sig": length}))
        _, forces = predict(validated["R"].reshape(held.sum(), -1))
        rms[length] = bohr * float(np.sqrt(np.mean((forces - validated["F"].reshape(held.sum(), -1)) ** 2)))
    length = min(rms, key=rms.get)
    everything = _task(_dataset(request, held | True), validated, request["symmetric"])
    predict = _predictor(trainer.train(everything | {"sig": length}))

    def potential(positions):
        energies, forces = predict(positions.reshape(1, -1) * bohr)
        return energies[0], forces.reshape(-1, 3) * bohr

    return potential, {"length": length, "permutations": len(everything["perms"]), "held_out_force_rms": rms[length]}


def _dataset(request, which):
    """Return some of the geometries as the package has them, lengths in angstrom, energies in hartree."""
    bohr = request["bohr_in_angstrom"]
    dataset = {
        "type": "d",
        "code_version": sgdml.__version__,
        "name": np.array("mpiqmd"),
        "theory": np.array("hifi"),
        "z": io.z_str_to_z(request["symbols"]),
        "R": request["positions"][which] * bohr,
        "E": request["energies"][which],
        "F": request["forces"][which] / bohr,
    }
    return dataset | {"md5": io.dataset_md5(dataset)}


def _task(chosen, validated, symmetric):
    """Return the task of training on all of a data set, with the package's regularisation and any kernel length."""
    numbers = len(chosen["R"]), validated, len(validated["R"])
    return dict(trainer.create_task(chosen, *numbers, sig=LENGTHS[0], use_sym=symmetric))


def _predictor(model):
    """Return energies and forces as a function of geometries, shape (B, 3 N), angstrom."""
    return GDMLPredict(model, max_processes=1, log_level=logging.CRITICAL).predict


if __name__ == "__main__":
    serve(sgdml.__version__, train)
