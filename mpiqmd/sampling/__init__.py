"""Which geometries the offline stage solves: lattices, boxes of internal coordinates, normal-mode amplitudes.

Replicated and deterministic: every rank that asks with the same arguments gets the same geometries.  May
import ``molecule`` and below.
"""
