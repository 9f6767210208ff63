"""``mpiqmd ipi`` beside the real i-PI: conserved energy, path integrals of water, geometries outside the model."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from mpiqmd.plots.distribution import common_bins, distance_histogram, figure_distances
from tests.helpers.workplace import WATER, with_keys

EXAMPLE = Path(__file__).parents[2] / "run" / "examples" / "water-pimd"
I_PI = shutil.which("i-pi", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
needs_ipi = pytest.mark.skipif(I_PI is None, reason="i-PI is not installed")

NVE = """
<simulation verbosity='low' safe_stride='1000000'>
  <output prefix='nve'>
    <properties filename='out' stride='1'> [ step, conserved, potential, kinetic_md ] </properties>
  </output>
  <total_steps> STEPS </total_steps>
  <prng> <seed> 3 </seed> </prng>
  <ffsocket name='mpiqmd' mode='inet' pbc='false'>
    <address> localhost </address> <port> PORT </port> <latency> 1e-4 </latency>
    <exit_on_disconnect> true </exit_on_disconnect>
  </ffsocket>
  <system>
    <initialize nbeads='BEADS'>
      <file mode='xyz' units='atomic_unit'> water.xyz </file>
      <velocities mode='thermal' units='kelvin'> 100 </velocities>
    </initialize>
    <forces> <force forcefield='mpiqmd'/> </forces>
    <motion mode='dynamics'>
      <dynamics mode='nve'> <timestep units='femtosecond'> TIMESTEP </timestep> </dynamics>
    </motion>
    <ensemble> <temperature units='kelvin'> 100 </temperature> </ensemble>
  </system>
</simulation>
"""
START = """3
# CELL(abcABC): 40.0 40.0 40.0 90.0 90.0 90.0 positions{atomic_unit} cell{atomic_unit}
O 0.0 0.0 0.0
H 1.10 1.40 0.0
H 1.10 -1.40 0.0
"""


def filled(text, **words):
    """The text with words in capitals replaced."""
    for name, value in words.items():
        text = text.replace(name, str(value))
    return text


@contextmanager
def i_pi(comm, folder, text):
    """Run i-PI on rank 0, outside the job, while the block talks to it; it must end well."""
    process = None
    if comm.rank == 0:
        (folder / "input.xml").write_text(text)
        outside = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI", "PRTE"))}
        with open(folder / "i-pi.log", "w") as log:
            process = subprocess.Popen([I_PI, "input.xml"], cwd=folder, stdout=log, stderr=log, env=outside)
    try:
        yield
        status = process.wait(timeout=30) if process else 0
    finally:
        if process and process.poll() is None:
            process.kill()
            process.wait()
    assert status == 0, (folder / "i-pi.log").read_text()
    comm.Barrier()


def free_port(comm):
    with socket.create_server(("127.0.0.1", 0)) as server:
        return comm.bcast(server.getsockname()[1])


@needs_ipi
def test_energy_is_conserved_to_second_order(bench, trained):
    bench.write("water.xyz", START)
    fluctuations = []
    for name, timestep in (("coarse", 0.5), ("fine", 0.25)):
        port, steps = free_port(bench.comm), round(30 / timestep)
        output = bench.folder / name
        words = ["--model", trained.model, "--address", f"localhost:{port}", "--output", output]
        with i_pi(bench.comm, bench.folder, filled(NVE, PORT=port, STEPS=steps, TIMESTEP=timestep, BEADS=1)):
            result = bench.run("ipi", trained.input, *words)
        assert result["evaluations"] == steps + 1 and result["ended"] == "EXIT" and result["solver"] == "rom"
        conserved = np.loadtxt(bench.folder / "nve.out")[:, 1]
        bench.comm.Barrier()
        assert len(conserved) == steps + 1
        fluctuations.append(conserved.std())
        half = len(conserved) // 2
        # no trend beyond the fluctuation: both halves have the same mean
        assert abs(conserved[:half].mean() - conserved[half:].mean()) < 2 * conserved.std()
    assert fluctuations[0] < 3e-5
    assert 3.0 < fluctuations[0] / fluctuations[1] < 5.3


@needs_ipi
def test_beads_over_several_connections_move_as_over_one(bench, trained):
    """Batches change round-off only, and the path integral's energy is conserved in either."""
    bench.write("water.xyz", START)
    steps, columns = 16, []
    for connections in (1, 8):
        port = free_port(bench.comm)
        words = ["--model", trained.model, "--address", f"localhost:{port}", "--connections", connections]
        with i_pi(bench.comm, bench.folder, filled(NVE, PORT=port, STEPS=steps, TIMESTEP=0.25, BEADS=8)):
            result = bench.run("ipi", trained.input, *words, "--output", bench.folder / f"driver-{connections}")
        assert result["evaluations"] == 8 * (steps + 1) and result["ended"] == "EXIT"
        assert result["connections"] == connections
        assert result["evaluations_at_once"] > 1.0 if connections == 8 else result["evaluations_at_once"] == 1.0
        columns.append(bench.once(np.loadtxt, bench.folder / "nve.out"))
    one, other = columns
    assert np.ptp(one[:, 2]) > 1e-4
    np.testing.assert_allclose(other, one, rtol=1e-7, atol=1e-9)
    assert one[:, 1].std() < 3e-5


@needs_ipi
def test_four_beads_from_one_process(bench, trained):
    n_beads, steps = 4, 40
    name = bench.comm.bcast(f"mpiqmd-test-{os.getpid()}")
    bench.once(shutil.copy, EXAMPLE / "water.xyz", bench.folder)
    rom = {"on_large_error": "hifi", "error_tolerance": 0.5}
    path = bench.write("wide.toml", with_keys(trained.input.read_text(), rom=rom))
    text = filled((EXAMPLE / "input.xml").read_text(), BEADS=n_beads, STEPS=steps, PREFIX="quantum", ADDRESS=name)
    words = ["--model", trained.model, "--unix", name, "--output", bench.folder / "driver"]
    with i_pi(bench.comm, bench.folder, text):
        result = bench.run("ipi", path, *words)
    assert result["evaluations"] == n_beads * (steps + 1)
    # how far path-integral beads spread beyond this narrow model is among the extras
    assert result["largest_training_distance"] > 0.5
    if bench.comm.rank == 0:
        distances = np.array([np.loadtxt(bench.folder / f"quantum.training_distance_{bead}") for bead in range(n_beads)])
        assert distances.shape == (n_beads, steps // 10 + 1) and (distances >= 0).all() and distances.max() > 0
        assert distances.max() <= result["largest_training_distance"] + 1e-8
        columns = np.loadtxt(bench.folder / "quantum.out")
        # the two surfaces differ by a mHa or two, and every crossing is a step in the energy
        assert np.ptp(columns[:, 2]) < 1e-2
        assert (columns[1:, 5] > 0).all()
    bench.comm.Barrier()


@contextmanager
def one_geometry(comm, positions_av, cell_vv=None):
    """Yield the port of a server that asks for one geometry, says no more, and reads until the client has gone."""
    listener = socket.create_server(("127.0.0.1", 0)) if comm.rank == 0 else None
    port = comm.bcast(listener.getsockname()[1] if listener else None)

    def play():
        connection, _ = listener.accept()
        with connection:
            data = np.int32(len(positions_av)).tobytes() + np.asarray(positions_av, float).tobytes()
            connection.settimeout(30)
            # a client that refuses the geometry leaves in the middle of this
            with suppress(OSError):
                cell = bytes(144) if cell_vv is None else cell_vv.tobytes() + np.linalg.inv(cell_vv).tobytes()
                connection.sendall(b"POSDATA     " + cell + data + b"GETFORCE    ")
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

    thread = threading.Thread(target=play, daemon=True)
    if listener:
        thread.start()
    yield port
    if listener:
        thread.join(20)
        listener.close()


def test_outside_the_tables_is_solved_on_the_grid_unless_the_input_wants_to_stop(bench, trained, capfd):
    far_av = [[0.0, 0.0, 0.0], [1.5, 1.9, 0.0], [1.1, -1.4, 0.0]]
    strict, lenient = (
        bench.write(f"{reaction}.toml", with_keys(trained.input.read_text(), rom={"on_large_error": reaction}))
        for reaction in ("stop", "warn")
    )
    with one_geometry(bench.comm, far_av) as port:
        words = ["--model", trained.model, "--address", f"127.0.0.1:{port}", "--output", bench.folder / "out"]
        assert bench.status("ipi", strict, *words) == 1
    message = capfd.readouterr().err
    assert bench.comm.rank != 0 or ("outside the box" in message and "rom.on_large_error" in message)
    with one_geometry(bench.comm, far_av) as port:
        words[3] = f"127.0.0.1:{port}"
        result = bench.run("ipi", lenient, *words)
    assert result["ended"] == "closed" and result["solved_on_grid"] == 1 and result["solved_in_full"] == 0
    assert result["error_checks"]["outside_tables"] == 1


def test_other_molecules_are_refused(bench, capfd):
    path = bench.write("water.toml", WATER)
    with one_geometry(bench.comm, np.eye(4, 3)) as port:
        words = ["--address", f"127.0.0.1:{port}", "--output", bench.folder / "out"]
        assert bench.status("ipi", path, *words) == 1
    message = capfd.readouterr().err
    assert bench.comm.rank != 0 or "the server sends 4 atoms, the input has 3" in message


def test_a_cell_that_is_not_that_of_a_periodic_input_is_refused(bench, capfd):
    """Helium in a cell of 8 bohr, asked for in one of 30."""
    system = {"symbols": ["He", "He"], "positions": [[-2.0, 0.0, 0.0], [2.0, 0.0, 0.0]]}
    text = with_keys("[system]", system=system, grid={"cell": 8.0, "points": 16, "boundary": "periodic"})
    path = bench.write("helium.toml", text)
    for edge, status in ((30.0, 1), (8.0, 0)):
        with one_geometry(bench.comm, system["positions"], edge * np.eye(3)) as port:
            words = ["--address", f"127.0.0.1:{port}", "--output", bench.folder / "out"]
            assert bench.status("ipi", path, *words) == status
        message = capfd.readouterr().err
        assert bench.comm.rank != 0 or status == 0 or ("[30.0, 0.0, 0.0]" in message and "[8.0, 0.0, 0.0]" in message)


@pytest.mark.serial
def test_the_example_draws_both_distributions(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(5)
    widths = {"classical": [0.0], "quantum": [0.02, 0.03]}
    for name, beads in widths.items():
        for bead, width in enumerate(beads):
            frames = []
            for step in range(40):
                hydrogens = 0.97 * np.array([[0.6, 0.8, 0.0], [0.6, -0.8, 0.0]]) * (1 + width * rng.normal(size=(2, 1)))
                lines = [f"{s} {x:.6f} {y:.6f} {z:.6f}" for s, (x, y, z) in zip("OHH", [np.zeros(3), *hydrogens], strict=True)]
                comment = f"# CELL(abcABC): 37.8 37.8 37.8 90 90 90  Step: {step}  Bead: {bead} positions{{angstrom}}"
                frames.append("\n".join(["3", comment, *lines]))
            (tmp_path / f"{name}.pos_{bead}.xyz").write_text("\n".join(frames) + "\n")
    spec = importlib.util.spec_from_file_location("plot", EXAMPLE / "plot.py")
    plot = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plot)
    monkeypatch.setattr(sys, "argv", ["plot.py", str(tmp_path), "--discard", "0.25"])
    plot.main()
    summary = json.loads((tmp_path / "distances.json").read_text())
    assert summary["classical"]["samples"] == 60 and summary["quantum"]["samples"] == 120
    assert summary["classical"]["mean"] == pytest.approx(0.97 / 0.529177, abs=1e-4)
    assert summary["classical"]["standard_deviation"] < 1e-5 < 0.02 < summary["quantum"]["standard_deviation"]
    assert (tmp_path / "figure-distances.png").exists() and "figure-distances.pdf" in capsys.readouterr().out


@pytest.mark.serial
def test_distributions_are_normalised(rng):
    samples = {"narrow": 1.8 + 0.05 * rng.normal(size=4000), "wide": 1.85 + 0.1 * rng.normal(size=2000)}
    edges = common_bins(samples)
    for values in samples.values():
        assert edges[0] < values.min() and values.max() < edges[-1]
        density = distance_histogram(values, edges)
        assert density @ np.diff(edges) == pytest.approx(1.0, abs=1e-12)
    axis = figure_distances(samples).axes[0]
    assert [text.get_text().split(":")[0] for text in axis.get_legend().get_texts()] == ["narrow", "wide"]
    assert len(axis.get_lines()) == 3
