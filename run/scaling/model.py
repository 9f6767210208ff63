"""What an ABPG iteration costs as a function of grid, orbitals and ranks, from what the algorithm does.

Each kernel is written as a handful of counts on the busiest rank: multiplications in matrix products (double and single),
stencil terms, bytes through memory, points of the xc functional, calls from Python, messages and bytes sent.  The seconds
per count are fitted to measurements on few ranks (non-negative least squares of relative errors); on a network the last
two are assumptions.  N is a rank's number of points, n the number of orbitals, a p_y x p_z process grid owns whole x lines.

kernel         work                           messages
-------------  -----------------------------  --------------------------------------------------------------------------
Laplacian      nN (3 order + 1)               halo of half the order to two neighbours per split axis
(T + σ)^-1     4nN (n_x + n_y + n_z), single  two all-to-alls of nN numbers per split axis
Poisson        periodic: the same             two all-to-alls of N numbers per split axis
               isolated: FFTs of padded axes  two all-to-alls of 2N numbers per split axis
V-cycle        4 sparse products a level      halo of each, one gather of the coarsest level
Poisson by CG  12 products of order 12        12 V-cycles and halos, 3 sums each
Gram, rotate   2n²N each                      a sum of n² numbers
eigenproblem   12n³ on one rank               a broadcast of n² numbers

    .venv/bin/python -m run.scaling.model results/scaling/scaling.json

prints predicted against measured times of a study and the extrapolation to 10^4 ranks.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import ceil, log2, prod
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from mpiqmd.grid.convolution import period
from mpiqmd.grid.pencils import MODES_EACH
from mpiqmd.pipeline.results import read_result

COMPUTE = ("stencil", "products64", "products32", "transforms", "memory", "xc_points", "sparse", "calls")
MESSAGES = ("messages", "sent", "traded")
RATES = {
    "stencil": "stencil terms/s",
    "products64": "flop/s, double",
    "products32": "flop/s, single",
    "transforms": "flop/s of FFTs",
    "memory": "byte/s streamed",
    "xc_points": "xc points/s",
    "sparse": "byte/s of sparse products",
    "calls": "calls/s from Python",
    "messages": "messages/s",
    "sent": "byte/s to neighbours",
    "traded": "byte/s in transposes",
}
NETWORK = {"messages": 2e-6, "sent": 2e-9}
"""Assumed seconds per message and per byte between nodes: 2 µs, and 0.5 GB/s per rank while all of a node send."""
CONTENTION = (1.0, 4.0, 16.0)
"""How many times slower transposes send than neighbours do: 1 on a network of full bisection bandwidth."""
ABPG_ITERATIONS = {"direct": 14, "multigrid": 15}
"""Iterations of water from scratch to 1e-9 Ha with the exact preconditioner and with one V-cycle, measured."""
CG_ITERATIONS = 12
POISSON_ORDER, CYCLE_ORDER, COARSEST = 12, 4, 4096
BLOCK_PASSES = 34
"""Block-sized arrays read or written by one iteration outside the kernels: products with potentials, Anderson, copies."""
BLOCK_PRODUCTS = 8
"""Grams and combinations of one iteration."""
SUMS = 9
"""Sums over all ranks of one iteration."""

Counts = dict[str, float]


@dataclass(frozen=True)
class Point:
    """One job: grid points and process grid along z, y, x, order, boundary and orbitals."""

    shape: tuple[int, int, int]
    process_shape: tuple[int, int, int]
    order: int = 8
    boundary: str = "isolated"
    orbitals: int = 4

    @classmethod
    def of(cls, record: dict[str, Any]) -> Point:
        """Return the job of a measured record (whose process grid is ordered x, y, z)."""
        processes = tuple(record["process_shape"][::-1])
        return cls(tuple(record["shape"]), processes, record["order"], record["boundary"], record["orbitals"])

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return prod(self.process_shape)

    @property
    def block(self) -> tuple[int, int, int]:
        """Points of the largest block along z, y and x."""
        return tuple(ceil(n / p) for n, p in zip(self.shape, self.process_shape, strict=True))

    @property
    def local(self) -> int:
        """Points of the largest block."""
        return prod(self.block)


def add(*parts: Counts) -> Counts:
    """Return the sum of counts."""
    return {name: sum(part.get(name, 0.0) for part in parts) for name in (*COMPUTE, *MESSAGES)}


def times(factor: float, counts: Counts) -> Counts:
    """Return counts times a number."""
    return {name: factor * count for name, count in counts.items()}


# ---- kernels -----------------------------------------------------------------------------------------------------------


def halo(point: Point, width: int, functions: int, block: tuple[int, int, int] | None = None) -> Counts:
    """Return the exchange of ``width`` planes with both neighbours along every split axis, 8 bytes a number."""
    block = block or point.block
    counts: Counts = {"messages": 0.0, "sent": 0.0}
    for axis, ranks in enumerate(point.process_shape):
        if ranks > 1:
            counts["messages"] += 2.0
            counts["sent"] += 2.0 * 8.0 * functions * min(width, block[axis]) * prod(block) / block[axis]
    return counts


def sum_over_ranks(point: Point) -> Counts:
    """Return a sum over all ranks of a few numbers: a tree up and down."""
    return {"messages": 2.0 * ceil(log2(point.ranks)) if point.ranks > 1 else 0.0}


def laplacian(point: Point) -> Counts:
    """Return ``∇²`` of all orbitals: one pass of a star of 3 order + 1 terms, and the planes of neighbours."""
    work = point.orbitals * point.local
    own = {"stencil": work * (3.0 * point.order + 1.0), "memory": 4 * 8.0 * work, "calls": 2.0 + point.orbitals}
    return add(own, halo(point, point.order // 2, point.orbitals))


def separable(point: Point, functions: int, modes: tuple[int, int, int], size: int) -> Counts:
    """Return a transform to ``modes`` along x, y and z, a multiplication and the way back, in numbers of ``size`` bytes."""
    n_z, n_y, n_x = point.shape
    lines, planes, whole = _modes_after(point, functions, modes)
    flops = 2.0 * 2.0 * (lines * n_x + planes * n_y + whole * n_z)
    counts: Counts = {"products64" if size == 8 else "products32": flops, "calls": 14.0}
    return add(counts, _passed_on(point, functions, modes, size))


def convolution(point: Point) -> Counts:
    """Return fast Fourier transforms of padded axes, a multiplication and the way back, of one function."""
    m_z, m_y, m_x = (period(n) for n in point.shape)
    modes = (m_z, m_y, m_x // 2 + 1)
    lines, planes, whole = _modes_after(point, 1, modes)
    flops = 2.0 * 5.0 * (lines * log2(m_x) + planes * log2(m_y) + whole * log2(m_z))
    return add({"transforms": flops, "calls": 14.0}, _passed_on(point, 1, modes, 16))


def _modes_after(point: Point, functions: int, modes: tuple[int, int, int]) -> tuple[float, float, float]:
    """Return how many numbers there are after the transform of x, of y, and of z."""
    (n_z, n_y, n_x), (m_z, m_y, m_x) = point.shape, modes
    lines = functions * point.local * m_x / n_x
    return lines, lines * m_y / n_y, lines * m_y / n_y * m_z / n_z


def _passed_on(point: Point, functions: int, modes: tuple[int, int, int], size: int) -> Counts:
    """Return what transforms move in memory and exchange, in numbers of ``size`` bytes."""
    p_z, p_y, _ = point.process_shape
    lines, planes, whole = _modes_after(point, functions, modes)
    counts: Counts = {"memory": size * (2.0 * functions * point.local + 4.0 * lines + 4.0 * planes + 5.0 * whole)}
    splits_x_only = modes[2] >= MODES_EACH * p_y * p_z
    for numbers, ranks in ((lines, p_y), (lines if splits_x_only else planes, p_z)):
        if ranks > 1:
            counts["memory"] += 2 * 6.0 * size * numbers
            counts["messages"] = counts.get("messages", 0.0) + 2.0 * (ranks - 1)
            counts["traded"] = counts.get("traded", 0.0) + 2.0 * size * numbers * (1.0 - 1.0 / ranks)
    return counts


def precondition(point: Point) -> Counts:
    """Return ``(T + σ)^-1`` of all orbitals, directly, in single precision."""
    return separable(point, point.orbitals, point.shape, 4)


def poisson(point: Point) -> Counts:
    """Return the Coulomb potential of one density, directly."""
    return separable(point, 1, point.shape, 8) if point.boundary == "periodic" else convolution(point)


def xc(point: Point) -> Counts:
    """Return the energy and potential of a functional of the density alone."""
    return add({"xc_points": point.local, "calls": 5.0}, sum_over_ranks(point))


def gram(point: Point) -> Counts:
    """Return all inner products of two blocks, summed over ranks."""
    n = point.orbitals
    own = {"products64": 2.0 * n**2 * point.local, "memory": 16.0 * n * point.local, "calls": 2.0}
    return add(own, sum_over_ranks(point), {"sent": 16.0 * n**2 if point.ranks > 1 else 0.0})


def combine(point: Point) -> Counts:
    """Return a block times a small matrix."""
    n = point.orbitals
    return {"products64": 2.0 * n**2 * point.local, "memory": 16.0 * n * point.local, "calls": 2.0}


def dense(point: Point) -> Counts:
    """Return one eigenproblem of the size of the block on one rank, and its broadcast: all other ranks wait."""
    n, steps = point.orbitals, ceil(log2(point.ranks)) if point.ranks > 1 else 0
    return {"products64": 12.0 * n**3, "calls": 4.0, "messages": float(steps), "sent": 8.0 * n**2 * steps}


def cycle(point: Point, functions: int) -> Counts:
    """Return one V-cycle on some functions: Chebyshev smoothing of degree 2, 4 sparse products a level in all."""
    shape, ranks_z_y = point.shape, point.process_shape
    total, order = {"calls": 4.0 * functions}, min(point.order, CYCLE_ORDER)
    while prod(shape) > COARSEST:
        block = tuple(ceil(n / p) for n, p in zip(shape, ranks_z_y, strict=True))
        bytes_a_point = 4 * 12.0 * (3 * order + 1) + 2 * 12.0 * 3.4 + 20 * 8.0
        total = add(total, {"sparse": functions * prod(block) * bytes_a_point})
        total = add(total, times(6.0 * functions, halo(point, order // 2, 1, block)))
        shape, order = tuple(ceil(n / 2) for n in shape), 2
    gathered = {"sparse": 12.0 * 60.0 * prod(shape) * functions}
    if point.ranks > 1:
        gathered |= {"messages": functions * ceil(log2(point.ranks)), "sent": functions * 8.0 * prod(shape)}
    return add(total, gathered)


def precondition_multigrid(point: Point) -> Counts:
    """Return one V-cycle for every orbital."""
    return cycle(point, point.orbitals)


def poisson_multigrid(point: Point) -> Counts:
    """Return conjugate gradients on the equation of order 12."""
    product = {"sparse": point.local * (12.0 * (3 * POISSON_ORDER + 1) + 10 * 8.0)}
    one = add(product, halo(point, POISSON_ORDER // 2, 1), cycle(point, 1), times(3.0, sum_over_ranks(point)))
    return times(CG_ITERATIONS + 1, one)


def iteration(point: Point, method: str) -> Counts:
    """Return one ABPG iteration."""
    solvers = (precondition, poisson) if method == "direct" else (precondition_multigrid, poisson_multigrid)
    block = {"memory": 8.0 * BLOCK_PASSES * point.orbitals * point.local, "calls": 80.0}
    parts = [laplacian(point), xc(point), *(solver(point) for solver in solvers), block]
    parts += [times(0.5 * BLOCK_PRODUCTS, gram(point)), times(0.5 * BLOCK_PRODUCTS, combine(point))]
    return add(*parts, dense(point), times(SUMS, sum_over_ranks(point)))


KERNELS = {
    "direct": {
        "laplacian": laplacian,
        "precondition": precondition,
        "poisson": poisson,
        "xc": xc,
        "gram": gram,
        "combine": combine,
    },
    "multigrid": {"precondition": precondition_multigrid, "poisson": poisson_multigrid},
}


# ---- seconds -----------------------------------------------------------------------------------------------------------


def seconds(counts: Counts, costs: dict[str, float], names: tuple[str, ...] = (*COMPUTE, *MESSAGES)) -> float:
    """Return the time of some counts, given seconds per count."""
    return sum(counts.get(name, 0.0) * costs[name] for name in names)


def fit(rows: list[tuple[Counts, float]], names: tuple[str, ...]) -> dict[str, float]:
    """Return the non-negative seconds per count that minimise the relative errors of (counts, measured seconds)."""
    rows = [(counts, measured) for counts, measured in rows if measured > 0.0]
    if not rows:
        return dict.fromkeys(names, 0.0)
    matrix = np.array([[counts.get(name, 0.0) / measured for name in names] for counts, measured in rows])
    scale = np.maximum(matrix.max(axis=0), 1e-300)
    solution, _ = nnls(matrix / scale, np.ones(len(rows)))
    return {name: float(value / unit) for name, value, unit in zip(names, solution, scale, strict=True)}


def fitted(records: list[dict[str, Any]]) -> dict[str, float]:
    """Return the seconds per count of this machine from the kernels of measured jobs."""
    compute, messages = [], []
    for record in records:
        point, method = Point.of(record), record["poisson"]
        for name, kernel in KERNELS[method].items():
            measured = record["kernels"][name]
            if method == "direct" or point.ranks == 1:
                compute.append((kernel(point), measured["compute"]))
            if method == "direct" and point.ranks > 1 and measured["calls"] > 0:
                messages.append((kernel(point), measured["message_cpu"]))
    costs = fit(compute, COMPUTE) | fit(_merged(messages), ("messages", "sent"))
    return costs | {"traded": costs["sent"]}


def _merged(rows: list[tuple[Counts, float]]) -> list[tuple[Counts, float]]:
    """Return rows in which every byte counts the same: ranks that share memory trade as they talk to neighbours."""
    return [(counts | {"sent": counts.get("sent", 0.0) + counts.get("traded", 0.0)}, measured) for counts, measured in rows]


def rows_of(records: list[dict[str, Any]], costs: dict[str, float]) -> list[dict[str, Any]]:
    """Return predicted and measured CPU seconds of every kernel and of the whole iteration."""
    rows = []
    for record in records:
        point, method = Point.of(record), record["poisson"]
        parts = {name: (kernel(point), record["kernels"][name]["cpu"]) for name, kernel in KERNELS[method].items()}
        parts["iteration"] = (iteration(point, method), record["iteration"]["cpu"])
        for name, (counts, measured) in parts.items():
            rows.append(
                {
                    "study": record.get("study", ""),
                    "method": method,
                    "ranks": point.ranks,
                    "kernel": name,
                    "predicted": seconds(counts, costs),
                    "measured": measured,
                }
            )
    return rows


# ---- extrapolation -----------------------------------------------------------------------------------------------------


def process_shape(ranks: int, edge: int, order: int) -> tuple[int, int, int] | None:
    """Return the squarest process grid for a cube of ``edge`` points that leaves whole stencils in every block, or None."""
    width = order // 2
    pairs = [(p, ranks // p) for p in range(1, ranks + 1) if ranks % p == 0]
    fitting = [(p_z, p_y) for p_z, p_y in pairs if edge // p_z >= width and edge // p_y >= width]
    if not fitting:
        return None
    p_z, p_y = min(fitting, key=lambda pair: abs(pair[0] - pair[1]))
    return p_z, p_y, 1


def extrapolate(
    edge: int, orbitals: int, costs: dict[str, float], contention: float = 1.0, largest: int = 16384
) -> list[dict[str, float]]:
    """Return seconds per iteration by both methods for 1, 2, 4, ... ranks on a cube, isolated, order 8, on a network."""
    network, rows = costs | NETWORK | {"traded": contention * NETWORK["sent"]}, []
    for ranks in (2**k for k in range(int(log2(largest)) + 1)):
        processes = process_shape(ranks, edge, 8)
        if processes is None:
            continue
        point = Point((edge - 1,) * 3, processes, 8, "isolated", orbitals)
        row: dict[str, float] = {"ranks": ranks}
        for method in KERNELS:
            counts = iteration(point, method)
            row[method] = seconds(counts, network)
            row[f"{method}_messages"] = seconds(counts, network, MESSAGES) / row[method]
        rows.append(row)
    return rows


def wins(rows: list[dict[str, float]]) -> list[int]:
    """Return the numbers of ranks at which a ground state takes less time by multigrid."""
    weights = ABPG_ITERATIONS
    return [int(row["ranks"]) for row in rows if row["multigrid"] * weights["multigrid"] < row["direct"] * weights["direct"]]


EXTRAPOLATED = ((64, 4), (128, 32), (256, 256), (768, 64))
"""Cubes of this many points a side and orbitals: 1, 8 and 64 water molecules at one spacing; a large, empty cell."""


def report(records: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Return the model of a study as plain data, and its tables as lines."""
    costs = fitted(records)
    lines = ["fitted on this machine:"]
    lines += [f"  {RATES[name]:28s} {1.0 / cost:10.3g}" for name, cost in costs.items() if cost > 0.0]
    rows = rows_of(records, costs)
    lines += ["", f"{'study':8s} {'method':10s} {'ranks':>5s} {'kernel':14s} {'predicted ms':>13s} {'measured ms':>12s}"]
    for row in rows:
        lines.append(
            f"{row['study']:8s} {row['method']:10s} {row['ranks']:5d} {row['kernel']:14s} "
            f"{1e3 * row['predicted']:13.2f} {1e3 * row['measured']:12.2f}"
        )
    far = {}
    for edge, orbitals in EXTRAPOLATED:
        table = extrapolate(edge, orbitals, costs)
        faster = {str(factor): wins(extrapolate(edge, orbitals, costs, factor)) for factor in CONTENTION}
        far[f"{edge}^3, {orbitals} orbitals"] = {"rows": table, "multigrid_wins": faster}
        lines += ["", f"{edge}^3 points, {orbitals} orbitals: seconds per iteration (share of messages)"]
        for line in table:
            lines.append(
                f"  {line['ranks']:6.0f} ranks: direct {line['direct']:10.4g} ({line['direct_messages']:4.0%})   "
                f"multigrid {line['multigrid']:10.4g} ({line['multigrid_messages']:4.0%})"
            )
        for factor, ranks in faster.items():
            which = f"{min(ranks)} to {max(ranks)} ranks" if ranks else "never"
            lines.append(f"  multigrid is faster where transposes send {factor} times slower: {which}")
    assumed = "assumed between nodes: 2 µs a message, 0.5 GB/s per rank, compute rates as fitted here, no overlap"
    lines += ["", assumed]
    return {"seconds_per_count": costs, "table": rows, "extrapolated": far, "assumed": assumed}, lines


def main() -> None:
    """Print the tables of a study's JSON file."""
    print("\n".join(report(read_result(Path(sys.argv[1]))["points"])[1]))


if __name__ == "__main__":
    main()
