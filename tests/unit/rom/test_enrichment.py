"""More modes as long as there are any, and the candidates with the largest estimates."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mpiqmd.errors import GeometryError
from mpiqmd.parallel.log import silent
from mpiqmd.rom.basis import rank_for
from mpiqmd.rom.enrichment import finer_fraction, how_many_more, largest_estimates

VALUES = 10.0 ** -np.arange(12.0)


def basis_and_options(fraction, **options):
    defaults = {"online": "learned", "max_rank": None, "rank": None, "criterion": "sigma", "energy_fraction": fraction}
    chosen = SimpleNamespace(**(defaults | options))
    rank = chosen.rank or rank_for(VALUES, fraction, chosen.criterion)
    if chosen.max_rank is not None:
        rank = min(rank, chosen.max_rank)
    return SimpleNamespace(singular_values_k=VALUES, rank=rank), chosen


@pytest.mark.serial
@pytest.mark.parametrize("criterion", ["sigma", "sigma2"])
@pytest.mark.parametrize("excess", [1.01, 7.0, 1e6])
def test_there_are_more_modes_for_a_larger_error(criterion, excess):
    basis, options = basis_and_options(0.99, criterion=criterion)
    finer = finer_fraction(basis, options, excess)
    assert 0.99 < finer < 1.0 and rank_for(VALUES, finer, criterion) > basis.rank
    assert finer <= finer_fraction(basis, options, 10.0 * excess)


@pytest.mark.serial
@pytest.mark.parametrize(
    ("fraction", "options"), [(1.0, {}), (0.99, {"rank": 3}), (0.99999, {"max_rank": 4})], ids=["all", "rank", "cap"]
)
def test_there_are_none_where_none_are_left_or_allowed(fraction, options):
    assert finer_fraction(*basis_and_options(fraction, **options), excess=5.0) is None


def test_the_worst_candidates_are_chosen_and_they_differ(comm, rng):
    """Those without an answer first; of a crowd only some."""
    candidates_sav = rng.normal(size=(40, 2, 3))
    candidates_sav[1] = candidates_sav[0] + 1e-4
    estimates = dict(zip((x.tobytes() for x in candidates_sav), np.linspace(1e-5, 1e-7, 40), strict=True))
    lost = candidates_sav[39].tobytes()

    def answer(positions_av):
        if positions_av.tobytes() == lost:
            raise GeometryError("outside")
        return SimpleNamespace(density_matrix_mm=None)

    stage = SimpleNamespace(
        answer=answer,
        error_estimate=lambda positions_av, matrix_mm: estimates[positions_av.tobytes()],
        model=SimpleNamespace(grid=SimpleNamespace(comm=comm)),
    )
    chosen = {x.tobytes() for x in largest_estimates(stage, candidates_sav, 10, [], silent(comm))}
    worst = {x.tobytes() for x in candidates_sav[[*range(29), 39]]}
    assert len(chosen) == 10 and chosen <= worst
    assert not {candidates_sav[0].tobytes(), candidates_sav[1].tobytes()} <= chosen


@pytest.mark.serial
def test_a_quarter_more_but_not_too_few():
    assert (how_many_more(6), how_many_more(40), how_many_more(84)) == (4, 10, 21)
