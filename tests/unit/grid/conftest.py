"""The grid of most tests in this folder."""

import pytest

from mpiqmd.grid import Grid


@pytest.fixture(params=["isolated", "periodic"])
def grid(request, comm):
    """Three edges, three numbers of points, even and odd; in free space and periodic."""
    grid = Grid(comm, (5.0, 6.0, 6.5), (11, 12, 13), order=4, boundary=request.param)
    yield grid
    grid.destroy()
