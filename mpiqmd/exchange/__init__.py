"""Geometries, densities and vibrations in the formats of other programs: the door between angstrom, eV and atomic units.

What files say is read as untrusted, and checked against the input by whoever reads.  May import ``md`` and what is below it.
"""
