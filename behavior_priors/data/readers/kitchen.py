"""The Franka kitchen's arrays in others' files, which hold them as one vector.

D4RL's `observations` `[60]` are positions of the robot (9) and of objects (21), then the goal (30),
which is left out; some copies of its files have left it out already. There are no velocities.

gymnasium-robotics', in Minari's files, are a dictionary: `observation` `[59]` has velocities too;
`achieved_goal` and `desired_goal` say the same again, by subtask, and are left out.
"""

from __future__ import annotations

from pathlib import Path

from behavior_priors.data.readers import ReadConfig, Selection, detect, open_recording
from behavior_priors.envs.adapters.kitchen.columns import COLUMNS
from behavior_priors.errors import UserError

_POSITIONS = {"robot": slice(0, 9), "objects": slice(9, 30)}

_LAYOUTS = {60: _POSITIONS, 30: _POSITIONS, 59: COLUMNS}
"""By the length of the vector."""


def kitchen_arrays(path: str | Path, format_name: str = "auto") -> tuple[Selection, ...]:
    """The arrays of `envs.kitchen` that a file has, where it has them.

    Args:
      path: the file, or the folder of a Minari dataset.
      format_name: of its layout, as for `open_recording`.

    Raises:
      UserError: as `open_recording`, or its observations are not a kitchen's.
    """
    path = Path(path)
    if format_name == "auto" and path.exists():
        format_name = detect(path)
    key = "observation" if format_name == "minari" else "observations"
    config = ReadConfig(observation=(Selection("vector", key),))
    shape = open_recording(path, config, format_name).observation["vector"].shape
    if len(shape) != 1 or shape[0] not in _LAYOUTS:
        raise UserError(
            f"{path}: {key!r} has the shape {list(shape)} a row; a kitchen's has "
            f"{', '.join(f'[{size}]' for size in _LAYOUTS)}, so name its arrays with --observation"
        )
    return tuple(Selection(name, key, part) for name, part in _LAYOUTS[shape[0]].items())
