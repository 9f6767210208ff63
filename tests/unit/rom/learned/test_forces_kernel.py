"""Forces in the laboratory from a gradient in the body frame: the kernel is the plain form."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpiqmd.molecule.frame import EckartFrame, make_frame
from mpiqmd.molecule.linear import LinearFrame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.rom.learned.geometry_kernels import gradient_forces
from tests.helpers.tiny_water import geometry

pytestmark = pytest.mark.serial

STRAIGHT = Molecule(("O", "H", "H"), np.array([[0.0, 0.0, 0.0], [0.0, 1.8, 0.0], [0.0, -1.8, 0.0]]))
WATER = Molecule(("O", "H", "H"), geometry(1.8, 1.8, 0.0))


def test_the_forces_kernel_is_the_plain_form(rng):
    frames = make_frame(WATER), make_frame(WATER, "bisector-folded"), EckartFrame(WATER), LinearFrame(STRAIGHT)
    for frame in frames:
        for turn in Rotation.random(4, random_state=4).as_matrix():
            shape = rng.uniform([1.76, 1.76, -0.06], [1.90, 1.90, 0.06])
            alignment, gradient_av = frame.align(geometry(*shape) @ turn.T + rng.normal(size=3)), rng.normal(size=(3, 3))
            frame_parts = alignment.condition_gradients_kav, alignment.origin_weights_a
            back = alignment.rotation_vv, alignment.permutation_a
            forces_av = gradient_forces(alignment.body_positions_av, gradient_av, *frame_parts, back, alignment.no_turn_v)
            np.testing.assert_allclose(forces_av, alignment.gradient_forces(gradient_av), atol=1e-13)
