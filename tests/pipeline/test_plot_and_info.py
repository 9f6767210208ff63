"""``mpiqmd plot`` and ``info`` on everything that the other commands write."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpiqmd.datasets import place_on_grid
from mpiqmd.grid.grid import Grid
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.rom.model_summary import coordinate_name
from tests.helpers.workplace import with_keys


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
        f"{rank} modes of 24 orbitals, 96 with their images",
        "trained on 6 geometries",
        "theta 97.500 to 111.500 degrees",
        f"{trained.result['errors']['training']['energy']['rms']:.1e}",
        f"{trained.result['errors']['dynamics']['force']['largest']:.1e}",
        *trained.result["verdict"]["words"].split(". "),
        "latent directions",
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


@pytest.fixture(scope="session")
def replicas(session_folder):
    """Folder of two short replicas on the model, made by the first test that asks."""
    return session_folder / "many"


def two_replicas(bench, trained, replicas):
    if not bench.once((replicas / "result.json").is_file):
        words = ("md", trained.input, "--model", trained.model, "--steps", 80, "--replicas", 2, "--output", replicas)
        bench.run(*words)
    return replicas / "replicas.h5"


def test_replicas_are_drawn_together(bench, trained, replicas):
    file = two_replicas(bench, trained, replicas)
    result = bench.run("plot", file, "--output", bench.folder / "figures")
    assert result["kind"] == "replicas"
    names = {Path(figure).stem for figure in result["figures"]}
    assert names == {"figure-observables", "figure-distributions"}
    spectrum = bench.run("plot", file, "--spectrum", "--output", bench.folder / "spectrum")
    assert spectrum["kind"] == "replicas" and spectrum["spectrum"]["runs"] == 2
    table = np.loadtxt(spectrum["spectrum"]["csv"], delimiter=",", skiprows=1)
    assert table[:, 1].max() == pytest.approx(1.0) and table[-1, 0] <= 4500.0
    assert spectrum["spectrum"]["resolution"] > 10.0


def test_replicas_are_compared_by_their_means(bench, trained, trajectory, replicas):
    file, folder = two_replicas(bench, trained, replicas), short_run(bench, trained, trajectory)
    result = bench.run("compare", folder / "trajectory.h5", file, "--output", bench.folder / "compared")
    assert result["runs"] == [1, 2] and result["frames"] == [3, 162]
    bond = result["means"]["bond_O1-H2"]
    assert bond["unit"] == "bohr" and bond["errors"][0] is None and bond["errors"][1] > 0.0
    read = bench.once(lambda: [Trajectory.open(replicas / f"replica-000{k}" / "trajectory.h5") for k in range(2)])
    if bench.comm.rank == 0:
        means = [np.linalg.norm(run.positions_tav[:, 1] - run.positions_tav[:, 0], axis=1).mean() for run in read]
        assert bond["means"][1] == pytest.approx(np.mean(means))
        assert bond["errors"][1] == pytest.approx(np.std(means, ddof=1) / np.sqrt(2.0))
    assert Path(result["figures"][0]).name == "figure-distributions.png"


def test_info_says_which_replicas_are_finished(bench, trained, replicas, capfd):
    text = printed(bench, capfd, two_replicas(bench, trained, replicas))
    assert "2 replicas, 2 of them finished" in text and "replica-0001: 81 frames, to step 80" in text


def test_a_link_to_elsewhere_is_refused(bench, trained, replicas, capfd):
    """Nothing but a trajectory in a folder of a replica is opened."""
    two_replicas(bench, trained, replicas)

    def make() -> None:
        with h5py.File(bench.folder / "replicas.h5", "w") as file:
            file.attrs["kind"] = "replicas"
            file["replica-0000"] = h5py.ExternalLink(str(replicas / "replica-0000" / "trajectory.h5"), "/")

    bench.once(make)
    assert bench.status("plot", bench.folder / "replicas.h5", "--output", bench.folder / "figures") == 1
    assert bench.comm.bcast("no link to replica-NNNN/trajectory.h5" in capfd.readouterr().err, root=0)


def test_frames_of_replicas_can_be_evaluated(bench, trained, replicas):
    file = two_replicas(bench, trained, replicas)
    tolerant = bench.write("tolerant.toml", with_keys(trained.input.read_text(), rom={"on_large_error": "warn"}))
    words = ("evaluate", tolerant, "--model", trained.model, "--structures", file, "--output", bench.folder / "evaluated")
    assert len(bench.run(*words)["energies"]) == 162


def test_a_run_leaves_a_topology_and_where_it_was_made(bench, trained, trajectory):
    folder = short_run(bench, trained, trajectory)
    text = bench.once((folder / "topology.psf").read_text)
    assert bench.comm.bcast(text, root=0).splitlines()[0] == "PSF NAMD"
    attributes = bench.comm.bcast(bench.once(lambda: Trajectory.open(folder / "trajectory.h5").attributes), root=0)
    assert attributes["host"] and attributes["started"].endswith("+00:00")
    assert {"mpiqmd", "numpy", "petsc"} <= set(json.loads(attributes["versions"]))


def undescribed(path: Path) -> list[str]:
    """Datasets of a file that do not say what they are."""
    missing: list[str] = []
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                missing.append(name) if isinstance(item, h5py.Dataset) and not item.attrs.get("description") else None
            )
        )
    return missing


def test_every_dataset_says_what_it_is(bench, trained, trajectory):
    folder = short_run(bench, trained, trajectory)
    files = [trained.model, trained.folder / "snapshots.h5", folder / "trajectory.h5", folder / "checkpoint.h5"]
    assert bench.comm.bcast(bench.once(lambda: [undescribed(file) for file in files]), root=0) == [[], [], [], []]


@pytest.mark.serial
def test_modes_can_be_drawn_from_the_model_alone(serial_comm, tmp_path):
    """A mode made as a function of the coordinates is that function of the places that the attributes name."""
    grid = Grid(serial_comm, (6.0, 7.0, 8.0), (10, 12, 14), order=4)
    z, y, x = grid.local_coordinates
    with h5py.File(tmp_path / "f.h5", "w") as file:
        modes = file.create_dataset("modes", data=(x + 10 * y + 100 * z)[None])
        place_on_grid(modes, grid.cell_v, grid.points_v, "isolated")
        assert modes.shape[1:] == (13, 11, 9) and list(modes.attrs["points"]) == [10, 12, 14]
        origin, spacing = modes.attrs["origin"], modes.attrs["spacing"]
        k, j, i = 4, 2, 7
        place = origin + spacing * np.array([i, j, k])
        assert modes[0, k, j, i] == pytest.approx(place @ [1, 10, 100])


def test_the_model_says_where_its_modes_are(bench, trained, capfd):
    def read() -> dict:
        with h5py.File(trained.model) as file:
            return {name: np.array(value).tolist() for name, value in file["modes"].attrs.items()}

    attributes = bench.comm.bcast(bench.once(read), root=0)
    assert attributes["points"] == [20, 20, 20] and attributes["boundary"] == "isolated" and attributes["unit"] == "bohr^-3/2"
    assert attributes["spacing"] == pytest.approx([0.35] * 3) and attributes["origin"] == pytest.approx([-3.15] * 3)
    text = printed(bench, capfd, trained.model)
    assert "modes: " in text and "[bohr^-3/2]  orthonormal modes" in text
    assert len(text.splitlines()) < 75 and "arrays/learned: " in text
