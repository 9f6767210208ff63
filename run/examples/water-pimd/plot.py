"""Draw O-H distances of classical and quantum water from the files that `run` leaves in a folder.

.venv/bin/python run/examples/water-pimd/plot.py results/water-pimd
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from mpiqmd.exchange.structure_files import read_structures
from mpiqmd.plots.distribution import figure_distances
from mpiqmd.plots.style import save_figure


def bond_lengths(folder: Path, prefix: str, discard: float) -> np.ndarray:
    """Return all O-H distances (bohr) of all beads, without the first part of the run in which it equilibrates."""
    files = sorted(folder.glob(f"{prefix}.pos_*.xyz"))
    if not files:
        sys.exit(f"plot.py: no {prefix}.pos_*.xyz in {folder}; run the example first")
    distances = []
    for path in files:
        structures = read_structures(path)
        symbols = structures[0].symbols
        kept_tav = np.array([structure.positions_av for structure in structures[int(discard * len(structures)) :]])
        oxygen = symbols.index("O")
        hydrogens = [index for index, symbol in enumerate(symbols) if symbol == "H"]
        distances.append(np.linalg.norm(kept_tav[:, hydrogens] - kept_tav[:, [oxygen]], axis=-1).ravel())
    return np.concatenate(distances)


def main() -> None:
    """Write figure-distances.png, .pdf and distances.json into the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--discard", type=float, default=0.2, help="share of the run left out at its beginning")
    arguments = parser.parse_args()
    samples = {name: bond_lengths(arguments.folder, name, arguments.discard) for name in ("classical", "quantum")}
    summary = {
        name: {"mean": values.mean(), "standard_deviation": values.std(), "samples": len(values)}
        for name, values in samples.items()
    }
    (arguments.folder / "distances.json").write_text(json.dumps(summary, indent=2) + "\n")
    for name, entry in summary.items():
        print(f"{name:10s} {entry['mean']:.4f} +- {entry['standard_deviation']:.4f} bohr ({entry['samples']} distances)")
    for path in save_figure(figure_distances(samples), arguments.folder / "figure-distances"):
        print(path)


if __name__ == "__main__":
    main()
