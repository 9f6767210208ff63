"""What the files of a reduced model call themselves in their attribute ``kind``."""

MODEL = "reduced model"
SNAPSHOTS = "snapshots"
WINDOWS = "windows of reduced models"
