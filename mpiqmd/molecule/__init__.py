"""Replicated nuclei: where they are, which potentials they carry, and the frame that moves with them.

Everything here is a plain array, identical on every rank; nothing is distributed and nothing communicates.
May import ``parallel``, ``errors`` and ``units`` only.
"""
