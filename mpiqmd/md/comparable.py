"""Whether two trajectories differ in more than what is meant to be compared."""

from __future__ import annotations

from mpiqmd.md.trajectory import Trajectory

PHYSICS = "physics."
"""How attributes begin that describe the surface."""
OF_RUNS = ("thermostat", "seed")
"""Settings of the dynamics that make two trajectories go different ways."""


def hints(first: Trajectory, second: Trajectory) -> list[str]:
    """Return what makes two trajectories differ beside their solvers, and what to do about it.  Not collective."""
    found = []
    frames = {_solver(trajectory): _frame(trajectory) for trajectory in (first, second)}
    if frames == {"hifi": "lab", "rom": "body"}:
        found.append(
            "the Hi-Fi run was solved in the laboratory (scf.frame = 'lab'), the reduced one in the molecule's body frame: the "
            "differences hold what the grid does as the molecule moves and turns beside the error of the model. Run Hi-Fi "
            'with scf.frame = "body" to see the model alone'
        )
    elif None not in frames.values() and _frame(first) != _frame(second):
        found.append(f"one run was solved with scf.frame = {_frame(first)!r}, the other with {_frame(second)!r}")
    different = _different(first, second)
    if different:
        found.append(
            f"the runs differ in {', '.join(different)}: they are not of one surface, or do not go the same way. Use the same "
            "input for both to compare solvers"
        )
    return found


def _solver(trajectory: Trajectory) -> str:
    return str(trajectory.attributes.get("solver"))


def _frame(trajectory: Trajectory) -> str | None:
    """Return the frame that a trajectory was solved in, None if its file does not say."""
    if _solver(trajectory) == "rom":
        return "body"
    frame = trajectory.attributes.get("scf.frame")
    return None if frame is None else str(frame)


def _different(first: Trajectory, second: Trajectory) -> list[str]:
    """Return the names of the settings that both files have and that differ."""
    one, other = first.attributes, second.attributes
    common = [name for name in one if name in other and (name.startswith(PHYSICS) or name in OF_RUNS)]
    return sorted(name.removeprefix(PHYSICS) for name in common if one[name] != other[name])
