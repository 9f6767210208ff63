"""Hydrogen peroxide as small as windows around its torsion can be."""

PEROXIDE = """
[system]
symbols = ["O", "O", "H", "H"]
positions = [[-1.35, 0.0, 0.05], [1.35, 0.0, 0.05], [-1.68, 1.5, -0.75], [1.68, -1.5, -0.75]]
[grid]
cell = [9.0, 8.0, 8.0]
points = [24, 22, 22]
order = 8
density = "finer"
[scf]
frame = "body"
[md]
steps = 8
timestep = 20.0
temperature = "300 K"
[train]
sampling = "torsion"
window = "180 deg"
count = 3
validation = 2
rounds = 1
energy_error = "1 Ha"
force_error = "1 Ha/bohr"
[relax]
force_tolerance = 0.005
[frequencies]
displacement = 0.05
[rom]
online = "grid"
energy_fraction = 0.99999
on_large_error = "warn"
"""
"""Hydrogen peroxide on a grid that is far too coarse for physics, in two windows that a mirror leaves as they are."""
