"""Random numbers of a run: one stream per purpose from one seed, and their state as arrays for the checkpoint.

All numbers are drawn on rank 0, so that they do not depend on the number of ranks.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.datafiles import Unfit

THERMOSTAT_STREAM, REPLICA_STREAM = 1, 2
"""Spawn keys: what is drawn for one purpose tells nothing about another's, nor about the initial velocities."""

WORD = 2**64


def thermostat_generator(seed: int) -> np.random.Generator:
    """Return the generator (PCG64) that a stochastic thermostat draws from."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(THERMOSTAT_STREAM,))))


def replica_seed(seed: int, index: int) -> int:
    """Return the seed (63 bits) of one of several independent runs; it does not depend on how many there are."""
    words = np.random.SeedSequence(seed, spawn_key=(REPLICA_STREAM, index)).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def generator_state(generator: np.random.Generator) -> np.ndarray:
    """Return the state of a PCG64 generator as 64-bit integers, shape (6,).  Not collective."""
    whole = generator.bit_generator.state
    state, increment = whole["state"]["state"], whole["state"]["inc"]
    words = [*divmod(state, WORD), *divmod(increment, WORD), whole["has_uint32"], whole["uinteger"]]
    return np.array(words, dtype=np.uint64)


def restore_generator(generator: np.random.Generator, words: np.ndarray) -> None:
    """Continue a PCG64 generator from what :func:`generator_state` returned; raises Unfit if it is something else."""
    if words.shape != (6,) or words.dtype.kind != "u":
        raise Unfit(f"the generator's state is {words.dtype} of shape {words.shape}, 6 unsigned words are expected")
    state_high, state_low, increment_high, increment_low, has_uint32, uinteger = (int(word) for word in words)
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": state_high * WORD + state_low, "inc": increment_high * WORD + increment_low},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
