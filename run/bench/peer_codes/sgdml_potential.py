"""sGDML as a potential of ``potential_server``; runs in the Python that has the package ``sgdml``.

Kernel length and regularisation are chosen by the force error of cross-validation in five parts, then all geometries are
trained on with them.  (The package's command line holds out one part and tries lengths with its own regularisation, 1e-10.)
With ``symmetric`` there are permutations of like atoms (sGDML): those that the package finds in the geometries and those of the
request, ``permutations`` of the molecule's symmetry, as in geometries that all have the same bond longer there are none to be
found.  Otherwise there are none (GDML).
NumPy on one core, which its authors recommend without a GPU.
"""

import logging
from itertools import product

import numpy as np
import sgdml
from potential_server import serve
from sgdml.predict import GDMLPredict
from sgdml.train import GDMLTrain
from sgdml.utils import io
from sgdml.utils.perm import complete_sym_group

LENGTHS = (2, 5, 10, 20, 50, 100, 200, 500)
"""Kernel lengths tried, for distances in angstrom; the package's command line tries 10, 20, ..., 100."""
REGULARISATIONS = (1e-10, 1e-8)
PARTS = 5

trainer = GDMLTrain(max_processes=1)


def train(request):
    """Return energy and forces of a geometry as a function, and what was chosen, with its validation error (Ha/bohr)."""
    bohr, part = request["bohr_in_angstrom"], np.arange(len(request["positions"])) % PARTS
    first = _dataset(request, part == 0)
    everything = _task(_dataset(request, part >= 0), first, {"use_sym": request["symmetric"]})
    if request["symmetric"]:
        everything["perms"] = _group(everything["perms"], request["permutations"])
    permutations = {"use_sym": request["symmetric"], "perms": everything["perms"]}
    folds = []
    for held in range(PARTS):
        validated = _dataset(request, part == held)
        folds.append((_task(_dataset(request, part != held), validated, permutations), validated))
    errors = {choice: _validation_error(folds, *choice) for choice in product(LENGTHS, REGULARISATIONS)}
    length, regularisation = min(errors, key=errors.get)
    predict = _predictor(trainer.train(everything | {"sig": length, "lam": regularisation}))

    def potential(positions):
        energies, forces = predict(positions.reshape(1, -1) * bohr)
        return energies[0], forces.reshape(-1, 3) * bohr

    notes = {"length": length, "regularisation": regularisation, "permutations": len(everything["perms"])}
    return potential, notes | {"validation_force_rms": bohr * errors[length, regularisation]}


def _validation_error(folds, length, regularisation):
    """Return the rms error of the forces (Ha/angstrom) on what each fold's task has not seen."""
    missed = []
    for task, validated in folds:
        predict = _predictor(trainer.train(task | {"sig": length, "lam": regularisation}))
        shape = len(validated["R"]), -1
        missed.append((predict(validated["R"].reshape(shape))[1] - validated["F"].reshape(shape)).ravel())
    return float(np.sqrt(np.mean(np.concatenate(missed) ** 2)))


def _group(found, known):
    """Return the group that permutations of the atoms make, those found and those known beforehand, shape (P, N)."""
    known = np.reshape(np.array(known, int), (-1, found.shape[1]))
    return complete_sym_group(np.unique(np.concatenate([found, known]), axis=0))


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


def _task(chosen, validated, permutations):
    """Return the task of training on all of a data set, kernel length and regularisation still to be put in."""
    return dict(trainer.create_task(chosen, len(chosen["R"]), validated, len(validated["R"]), sig=LENGTHS[0], **permutations))


def _predictor(model):
    """Return energies and forces as a function of geometries, shape (B, 3 N), angstrom."""
    return GDMLPredict(model, max_processes=1, log_level=logging.CRITICAL).predict


if __name__ == "__main__":
    serve(sgdml.__version__, train)
