"""One file per way to choose training geometries: what it does, its name, its keys of the [train] section and their checks.

:mod:`~mpiqmd.sampling.rules.rule` says what a rule is and has the decorator that registers one.
"""
