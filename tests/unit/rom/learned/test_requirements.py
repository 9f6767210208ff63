"""What a grid-free model cannot be made for is refused before anything is solved."""

import pytest

from mpiqmd.errors import ConfigError
from mpiqmd.rom.learned.requirements import require_grid_free
from tests.helpers.tiny_water import water_model


def test_warm_electrons_are_refused(comm):
    require_grid_free(water_model(comm))
    with pytest.raises(ConfigError, match=r"electronic_temperature = 0\.001 Ha.*rom\.online = 'grid'"):
        require_grid_free(water_model(comm, temperature=1e-3))
