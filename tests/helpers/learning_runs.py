"""Dynamics of water that leaves what its model was trained on, with a model that grows, and what it comes to."""

from __future__ import annotations

import json

import numpy as np

from mpiqmd.md.trajectory import Trajectory

MD = {"timestep": 25.0, "temperature": "2500 K", "thermostat": "none", "checkpoint_every": 1}
ROM = {
    "on_large_error": "learn",
    "learn_batch": 3,
    "check_every": 4,
    "force_tolerance": 8e-3,
    "error_tolerance": 3e-3,
}


def content(bench, folder, epochs=None):
    """What a trajectory holds of every step, on every rank; of a model that grew so often, if that is known."""

    def read():
        file = Trajectory.open(folder / "trajectory.h5")
        assert epochs is None or len(json.loads(file.attributes["epochs"])) == epochs
        return {"positions": file.positions_tav, "velocities": file.velocities_tav} | file.observables

    return bench.once(read)


def same(one, other):
    """Whether two trajectories are the same to the last bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)
