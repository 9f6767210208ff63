"""Strong and weak scaling, measured by :mod:`run.scaling.scaling` and extrapolated by :mod:`run.scaling.model`."""
