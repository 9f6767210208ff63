"""What a check of a model keeps: each form's errors, without the constant that is that form's own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.parallel.log import silent
from mpiqmd.rom.model_summary import error_table
from mpiqmd.rom.online import Answer
from mpiqmd.rom.validation import SolvedGeometries, validate

pytestmark = pytest.mark.serial
GRID_FREE, GRID = 3e-3, 1e-6
"""Energy by which each form is off everywhere, Ha."""


def answering(offset, size):
    """Energies off by a constant and a little that depends on the geometry, forces by as little; none from x = 9 bohr on."""

    def answer(positions_av):
        if positions_av[0, 0] >= 9.0:
            raise GeometryError("outside")
        more = size * (1.0 + positions_av[0, 0])
        return Answer(Evaluation(-17.0 + offset + more, np.full((2, 3), more)), np.zeros((1, 1)))

    return answer


@pytest.fixture
def stage(serial_comm):
    """A model of two forms."""
    return SimpleNamespace(
        model=SimpleNamespace(grid=SimpleNamespace(comm=serial_comm)),
        online="learned",
        grid_free=object(),
        answer=answering(GRID_FREE, 2e-8),
        answer_on_grid=answering(GRID, 1e-8),
        error_estimate=lambda positions_av, density_matrix_mm: 1e-8,
    )


def solved(count, first=0.0):
    positions_sav = np.zeros((count, 2, 3))
    positions_sav[:, 0, 0] = first + np.arange(count)
    return SolvedGeometries(positions_sav, np.full(count, -17.0), np.zeros((count, 2, 3)))


def test_a_constant_of_the_grid_free_form_is_no_error_of_the_grid(stage, serial_comm):
    errors = validate(stage, solved(6), solved(3, 0.5), ["random"] * 3, silent(serial_comm)).errors
    assert errors["offset"] == pytest.approx(GRID_FREE, abs=1e-6) and errors["grid_offset"] == pytest.approx(GRID, abs=1e-7)
    for name in ("training", "unseen"):
        in_use, on_grid = (errors["worst"][name][form]["energy"] for form in ("in_use", "on_grid"))
        assert in_use["largest"] < 1e-6 and 0.0 < on_grid["largest"] < 1e-6
        assert on_grid["mean"] == pytest.approx(GRID, abs=1e-7)
    last = error_table(errors)[-1]
    assert f"{errors['offset']:.1e} Ha (grid-free)" in last and f"{errors['grid_offset']:.1e} Ha (grid)" in last


def test_the_grid_alone_has_one_offset(stage, serial_comm):
    stage.grid_free, stage.answer = None, stage.answer_on_grid
    errors = validate(stage, solved(6), solved(3, 0.5), ["random"] * 3, silent(serial_comm)).errors
    assert errors["worst"] is None and errors["grid_offset"] is None
    assert error_table(errors)[-1].endswith(f"training geometries, {errors['offset']:.1e} Ha")


def test_where_a_form_has_no_answer_nothing_is_known(stage, serial_comm):
    errors = validate(stage, solved(3, 9.0), solved(2, 9.0), ["random"] * 2, silent(serial_comm)).errors
    assert errors["offset"] == errors["grid_offset"] == 0.0 and errors["worst"]["unseen"]["on_grid"] is None
    assert any("no answer at any" in line for line in error_table(errors))
