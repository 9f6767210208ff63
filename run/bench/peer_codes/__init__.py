"""Other codes on the benchmark's case: one adapter each, or a script that runs in that code's own Python."""
