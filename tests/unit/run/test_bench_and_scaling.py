"""What the drivers of run/bench and run/scaling compute without running anything: tables, inputs, the model's counts."""

import sys

import pytest

from run.bench.cases import CASES, settings_of
from run.bench.compare import compare
from run.bench.hifi import line, run_case
from run.bench.peer_codes.adapters import (
    FailedPeer,
    MgmolPeer,
    MissingPeer,
    PythonPeer,
    SparcPeer,
    mgmol_coordinates,
    mgmol_input,
    read_mgmol,
    read_sparc,
    sparc_input,
    sparc_ions,
)
from run.bench.peers import summary
from run.scaling import model
from run.scaling.model import Point
from run.scaling.scaling import points_of, scaling_rows, table

pytestmark = pytest.mark.serial


# ---- run/bench -------------------------------------------------------------------------------------------------------


def test_cases_change_what_they_say():
    settings = {name: settings_of(name, points=16) for name in CASES}
    assert settings["lda-8"].grid.points == (16, 16, 16) and settings["lda-8"].scf.energy_tolerance == 1e-8
    assert settings["lda-12"].grid.order == 12 and settings["lda-8"].grid.order == 8
    assert settings["pbe-8"].xc.functional == "PBE"
    assert settings["lda-8-periodic"].grid.boundary == "periodic"
    assert settings["lda-8-md"].md.steps == 30 and settings["lda-8-md"].md.timestep == 40.0


def test_a_case_counts_iterations_and_applications(monkeypatch):
    record = run_case("lda-8", settings_of("lda-8", points=16))
    assert record["applications"] > 4 * record["iterations"] > 0
    assert record["cpu_seconds"] > 0 and -18.0 < record["energy"] < -15.0
    monkeypatch.setitem(CASES, "short", {"md": {"steps": 2, "timestep": 40.0}})
    record = run_case("short", settings_of("short", points=16))
    assert len(record["iterations_per_step"]) == 2 and sum(record["iterations_per_step"]) == record["iterations"]
    assert "a step, drift" in line("short", record)


def record(energy, iterations=10, seconds=2.0):
    return {"energy": energy, "iterations": iterations, "applications": 40, "cpu_seconds": seconds}


def test_compare_flags_what_changed():
    old = {"points": 64, "cases": {"a": record(-17.0), "b": record(-1.0), "gone": record(0.0)}}
    new = {"points": 64, "cases": {"a": record(-17.0 + 5e-8, seconds=1.0), "b": record(-1.0, iterations=12)}}
    lines, same = compare(old, new)
    text = {line.split()[0]: line for line in lines}
    assert same
    assert " 2.00 " in text["a"] and "changed" not in text["a"]
    assert "iterations changed" in text["b"] and "ENERGY" not in text["b"]
    assert text["gone"].endswith("only in the first")
    new["cases"]["a"]["energy"] = -17.0 + 2e-7
    lines, same = compare(old, new)
    assert not same and any("ENERGY CHANGED" in line for line in lines)
    new["points"] = 48
    assert compare(old, new)[0][-1].startswith("NOT COMPARABLE")


CASE = {
    "symbols": ["O", "H", "H"],
    "positions": [[0.0, 0.0, 0.0], [1.0, 1.5, 0.0], [1.0, -1.5, 0.0]],
    "cell": 12.0,
    "points": 64,
    "boundary": "isolated",
    "energy_tolerance": 1e-8,
    "scf_tolerance": 1e-5,
    "timestep": 40.0,
    "steps": 3,
}


def test_inputs_of_compiled_peers():
    assert "BC: D D D" in sparc_input(CASE) and "FD_GRID: 64 64 64" in sparc_input(CASE)
    ions = sparc_ions(CASE, {"O": "o.psp8", "H": "h.psp8"}).splitlines()
    assert ions.count("COORD:") == 2 and "N_TYPE_ATOM: 2" in ions
    assert ions[-1] == "7.0000000000 4.5000000000 6.0000000000"
    assert "type=QUENCH" in mgmol_input(CASE, 0) and "num_steps=3\ndt=40.0" in mgmol_input(CASE, 3)
    assert mgmol_coordinates(CASE).splitlines()[2].split() == ["H3", "2", "1.0000000000", "-1.5000000000", "0.0000000000", "1"]


def test_outputs_of_compiled_peers():
    text = "Total number of SCF: 24 \nFree energy per atom : -5.7E+00 (Ha/atom)\nTotal free energy    : -1.7158141E+01 (Ha)\n"
    assert read_sparc(text) == {"energy": -17.158141, "iterations": 24}
    text = "%%    0 SC ENERGY = -16.5\n%%    1 SC ENERGY = -17.169455123456, delta Eks = 1.2e-09\n"
    assert read_mgmol(text) == {"energy": -17.169455123456, "iterations": 2}
    for reader in (read_sparc, read_mgmol):
        with pytest.raises(FailedPeer):
            reader("Segmentation fault")


def test_missing_peers_say_how_to_install_them(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    for peer in (SparcPeer("compile it"), MgmolPeer("compile it")):
        with pytest.raises(MissingPeer, match="on PATH: compile it"):
            peer.run(CASE)
    monkeypatch.setenv("MPIQMD_PEERS_PYTHON", sys.executable)
    with pytest.raises(MissingPeer, match="has no no_such_module: install it"):
        PythonPeer("no_such_module", "gpaw_water.py", "install it").run(CASE)
    own = record(-17.18) | {"setup_cpu_seconds": 0.5, "cpu_seconds_per_step": 0.5}
    peers = {
        "slow": {"energy": -17.2, "iterations": 20, "ground_state_seconds": 25.0, "step_seconds": [4.0, 5.0, 6.0]},
        "absent": {"missing": "not here"},
        "broken": {"failed": "boom"},
    }
    lines = summary({"lda-8": own, "lda-12": own, "lda-8-md": own}, peers)
    row = next(line for line in lines if line.startswith("slow")).split()
    assert row[1:] == ["25.00", "20", "10.0", "5.00", "10.0", "-17.20000000"]
    assert any("missing: not here" in line for line in lines) and any("FAILED" in line for line in lines)


# ---- run/scaling -----------------------------------------------------------------------------------------------------


@pytest.fixture
def point():
    return lambda shape=(63, 63, 63), processes=(1, 1, 1), **more: Point(shape, processes, **more)


def test_one_rank_sends_nothing(point):
    for kernels in model.KERNELS.values():
        for kernel in kernels.values():
            counts = kernel(point())
            assert not any(counts.get(name, 0.0) for name in model.MESSAGES)
            assert any(counts.get(name, 0.0) for name in model.COMPUTE)


def test_multiplications_by_hand(point):
    """n = 63, four orbitals: 4 n_orb N 3 n in single; Poisson by transforms of 128 points, half of x kept."""
    size = 63**3
    assert model.precondition(point())["products32"] == pytest.approx(4 * 4 * size * 3 * 63)
    kept = 65 * 63**2 + 65 * 128 * 63 + 65 * 128**2
    assert model.poisson(point())["transforms"] == pytest.approx(2 * 5 * 7 * kept)
    periodic = model.poisson(point((64,) * 3, boundary="periodic"))
    assert periodic["products64"] == pytest.approx(4 * 3 * 64 * 64**3)
    assert model.laplacian(point())["stencil"] == pytest.approx(4 * size * 25)


def test_work_is_shared_and_messages_grow(point):
    whole, shared = point((64,) * 3), point((64,) * 3, (4, 2, 1))
    for kernel in (model.precondition, model.poisson, model.precondition_multigrid):
        names = ("products64", "products32", "transforms", "sparse")
        for name in names:
            assert kernel(shared).get(name, 0.0) == pytest.approx(kernel(whole).get(name, 0.0) / 8, rel=0.15, abs=1.0)
    assert model.precondition(shared)["messages"] == 2 * (4 - 1) + 2 * (2 - 1)
    assert model.precondition(shared)["traded"] == pytest.approx(2 * 4 * 4 * 64**3 / 8 * (1 / 2 + 3 / 4))
    assert model.laplacian(shared)["messages"] == 4
    assert model.laplacian(shared)["sent"] == 2 * 8 * 4 * 4 * (32 * 64 + 16 * 64)


def test_fit_recovers_the_machine(point):
    costs = {
        "stencil": 3e-10,
        "products64": 2e-11,
        "products32": 1e-11,
        "memory": 1e-10,
        "xc_points": 4e-8,
        "transforms": 4e-10,
    }
    costs |= {"sparse": 5e-11, "calls": 3e-5, "messages": 1e-5, "sent": 1e-9, "traded": 1e-9}
    records = []
    for method, processes in (("direct", (1, 1, 1)), ("direct", (2, 1, 1)), ("direct", (4, 1, 1)), ("multigrid", (1, 1, 1))):
        job, kernels = point((64,) * 3, processes), {}
        for name, kernel in model.KERNELS[method].items():
            compute, sent = (model.seconds(kernel(job), costs, names) for names in (model.COMPUTE, model.MESSAGES))
            kernels[name] = {"compute": compute, "message_cpu": sent, "cpu": compute + sent, "calls": 1}
        whole = {"cpu": model.seconds(model.iteration(job, method), costs)}
        records.append(
            {
                "shape": [64] * 3,
                "process_shape": list(processes[::-1]),
                "order": 8,
                "boundary": "isolated",
                "orbitals": 4,
                "poisson": method,
                "kernels": kernels,
                "iteration": whole,
            }
        )
    found = model.fitted(records)
    for name, cost in costs.items():
        assert found[name] == pytest.approx(cost, rel=1e-6), name
    for row in model.rows_of(records, found):
        assert row["predicted"] == pytest.approx(row["measured"], rel=1e-6)
    assert "multigrid is faster" in "\n".join(model.report(records)[1])


def test_where_multigrid_wins(point):
    rows = [{"ranks": ranks, "direct": direct, "multigrid": 1.0} for ranks, direct in ((1, 1.0), (2, 1.2), (4, 1.3), (8, 0.9))]
    assert model.wins(rows) == [2, 4]
    assert model.process_shape(256, 64, 8) == (16, 16, 1) and model.process_shape(512, 64, 8) is None


def test_grids_and_efficiencies_of_the_studies():
    assert points_of("strong", 4, 64, 48) == [64] * 3
    assert [points_of("weak", ranks, 64, 48) for ranks in (1, 2, 4)] == [[48] * 3, [48, 48, 96], [48, 96, 96]]
    for ranks in (1, 2, 4, 8, 16, 64):
        x, y, z = points_of("weak", ranks, 64, 48)
        assert x * y * z == 48**3 * ranks
    points = [
        {
            "study": study,
            "ranks": ranks,
            "iteration": {"cpu": seconds, "message_cpu": 0.1, "bytes": 8.0, "calls": 3},
            "peak_memory": 1e8,
        }
        for study, ranks, seconds in (("strong", 2, 0.6), ("strong", 1, 1.0), ("weak", 1, 1.0), ("weak", 2, 1.25))
    ]
    rows = {(row["study"], row["ranks"]): row for row in scaling_rows(points, "cpu")}
    assert rows["strong", 2]["efficiency"] == pytest.approx(1.0 / 1.2)
    assert rows["weak", 2]["efficiency"] == pytest.approx(0.8)
    assert rows["strong", 2]["message_share"] == pytest.approx(1 / 6)
    assert len(table(list(rows.values()))) == 5
