"""Drivers of measurements, started from the checkout: ``python -m run.bench.hifi``."""
