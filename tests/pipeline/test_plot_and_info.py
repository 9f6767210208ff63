"""``mpiqmd plot`` and ``info`` on everything that the other commands write."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpiqmd.pipeline.model_summary import coordinate_name


@pytest.fixture(scope="session")
def trajectory(session_folder):
    """Folder of a short reduced run, made by the first test that asks."""
    return session_folder / "short"


def short_run(bench, trained, trajectory):
    if not bench.once((trajectory / "result.json").is_file):
        bench.run("md", trained.input, "--model", trained.model, "--steps", 2, "--output", trajectory)
    return trajectory


def test_figures_of_a_model_a_training_and_a_trajectory(bench, trained, trajectory):
    folder = short_run(bench, trained, trajectory)
    files = {"model": trained.model, "training": trained.folder / "result.json", "trajectory": folder / "trajectory.h5"}
    for kind, file in files.items():
        result = bench.run("plot", file, "--output", bench.folder / kind)
        assert result["kind"] == kind and result["figures"]
        assert {Path(figure).suffix for figure in result["figures"]} == {".png", ".pdf"}
        assert all(Path(figure).stat().st_size > 3000 for figure in result["figures"])


def printed(bench, capfd, file):
    """What ``info`` prints; empty on the other ranks."""
    from mpiqmd.cli import parse_arguments
    from mpiqmd.pipeline.job import run_job

    capfd.readouterr()
    assert run_job(parse_arguments(["info", str(file)]), bench.comm) == 0
    return bench.comm.bcast(capfd.readouterr().out, root=0)


def test_info_on_a_model(bench, trained, capfd):
    text = printed(bench, capfd, trained.model)
    rank = trained.result["rank"]
    for part in (
        f"{rank} modes of 24 orbitals, 96 with their mirror images",
        "trained on 6 geometries",
        "theta 97.500 to 111.500 degrees",
        f"{trained.result['reproduction']['energy']:.1e}",
        f"{trained.result['validation']['compiled_energy']:.1e}",
        "quadrature points",
        "functional: lda_xc_teter93",
    ):
        assert part in text


@pytest.mark.serial
def test_ranges_are_named_by_their_atoms():
    """The box of a model counts its atoms from 0, as arrays do; people read labels."""
    atoms = ("C1", "O2", "H3")
    assert [coordinate_name(name, atoms) for name in ("x0", "z2", "y1")] == ["C1 x", "H3 z", "O2 y"]
    assert [coordinate_name(name, atoms) for name in ("L1", "theta", "x3", "", "x")] == ["L1", "theta", "x3", "", "x"]


def test_info_on_the_files_of_a_run(bench, trained, trajectory, capfd):
    folder = short_run(bench, trained, trajectory)
    assert "3 frames, steps 0 to 2" in printed(bench, capfd, folder / "trajectory.h5")
    text = printed(bench, capfd, folder / "checkpoint.h5")
    assert "step 2" in text and "checksum" in text and "is right" in text
    assert "temperature_mean" in printed(bench, capfd, folder / "result.json")
