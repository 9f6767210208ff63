"""The commands: each loads its input, calls the domain, reports, and writes its results."""
