"""What the files of reduced models are called."""

MODEL_FILE = "model.h5"
"""What a training leaves, of one model or of several windows."""
MODEL_NAME, GATHERED_NAME = "model-epoch-{}.h5", "gathered-epoch-{}.h5"
"""A model that grew in a run, by its number, and the full solutions of dynamics that it grew by."""
