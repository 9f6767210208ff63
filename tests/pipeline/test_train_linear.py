"""``mpiqmd train`` on linear molecules: three atoms with both bends, and two with one coordinate."""

from __future__ import annotations

import json

import numpy as np

from mpiqmd.exchange.structure import Structure
from mpiqmd.exchange.structure_files import write_geometries
from mpiqmd.md.trajectory import Trajectory
from tests.helpers.workplace import with_keys

ANION = """
[system]
symbols = ["H", "H", "H"]
charge = -1
positions = [[0.1, 0.2, 0.0], [0.1, 1.3, 1.6], [0.1, -0.9, -1.6]]
[grid]
cell = [10.0, 6.5, 6.5]
points = [34, 22, 22]
order = 6
[scf]
frame = "body"
[md]
steps = 6
timestep = 15.0
temperature = "300 K"
[train]
sampling = "normal-modes"
count = 7
validation = 2
rounds = 1
[rom]
online = "grid"
"""
"""Three atoms on one line, which lies across the long side of the cell."""


def trained(bench, text):
    """Train in two steps and return the input, what was chosen, the result and the model."""
    path, folder = bench.write("linear.toml", text), bench.folder / "train"
    chosen = bench.run("train", path, "--samples-only", "--output", folder)
    return path, chosen, bench.run("train", path, "--output", folder), folder / "model.h5"


def test_three_atoms_on_a_line(bench):
    path, chosen, result, model = trained(bench, ANION)
    modes = bench.once(lambda: json.loads((bench.folder / "train" / "modes.json").read_text()))
    assert bench.comm.rank > 0 or np.abs(np.array(modes["positions"])[:, 1:]).max() < 1e-12
    # the four vibrations, among them two bends of which every direction is trained
    positions_sav = np.array(chosen["positions"])
    assert len(chosen["labels"][0]) == 4
    assert np.linalg.matrix_rank((positions_sav - positions_sav[0]).reshape(len(positions_sav), -1), tol=1e-6) == 4
    assert result["errors"]["training"]["energy"]["lowest"] > -1e-9
    assert all(0 < row["energy_error"] < 1e-3 for row in result["unseen"])
    moved = bench.run("md", path, "--model", model, "--output", bench.folder / "md")
    assert moved["steps"] == 6
    observables = bench.once(Trajectory.open, bench.folder / "md" / "trajectory.h5")
    if observables is not None:
        values = observables.observables
        assert np.ptp(values["conserved_energy"]) < 0.05 * np.ptp(values["kinetic_energy"])


def test_two_atoms(bench):
    """One coordinate; the model lies just above Hi-Fi in the same frame, wherever the molecule is turned."""
    system = {"symbols": ["H", "H"], "charge": 0, "positions": [[0.0, 0.0, 0.1], [0.6, 0.9, 1.0]]}
    path, chosen, result, model = trained(bench, with_keys(ANION, system=system, train={"count": 5}))
    assert len(chosen["labels"][0]) == 1 and np.abs(np.array(chosen["positions"])[:, :, 1:]).max() < 1e-12
    assert all(0 < row["energy_error"] < 1e-4 for row in result["unseen"])
    turned = Structure(("H", "H"), np.array([[0.0, 0.0, 0.0], [-0.2, 0.3, -1.35]]))
    bench.once(lambda: write_geometries(bench.folder / "turned.extxyz", turned, turned.positions_av[None]))
    bench.comm.Barrier()
    words = ("evaluate", path, "--structures", bench.folder / "turned.extxyz")
    (full,) = bench.run(*words, "--output", bench.folder / "hifi")["energies"]
    (reduced,) = bench.run(*words, "--model", model, "--output", bench.folder / "rom")["energies"]
    assert full - 1e-8 < reduced < full + 1e-4
