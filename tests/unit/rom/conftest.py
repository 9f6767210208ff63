"""The trained tiny water molecule, for all tests of reduced models."""

import pytest

from tests.helpers.tiny_water import train


@pytest.fixture
def trained(comm):
    trained = train(comm)
    yield trained
    trained.model.grid.destroy()
