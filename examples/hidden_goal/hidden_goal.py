"""A gymnasium task in NumPy: a finger reaches for a goal that no observation shows.

    python -m examples.hidden_goal.hidden_goal goals.json
    python -m experiments.pearl --flagfile=examples/hidden_goal/hidden_goal.flags

The goal is an option of `reset`: which one it is has to be inferred from rewards. The first command
writes the list of goals, which is a file so that anybody can look at it and change it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

REACH = 0.05  # metres of a step
SIDE = 0.5  # metres from the middle of the table to its edge
NEAR = 0.1  # metres at which the goal is reached
PIXELS = 128


class HiddenGoal(gymnasium.Env):
    """The reward is minus the distance to the goal, in metres.

    Args:
      render_mode: `rgb_array` for pictures, which do show the goal.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (gymnasium's own)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.action_space = gymnasium.spaces.Box(-REACH, REACH, (2,), np.float32)
        self.observation_space = gymnasium.spaces.Box(-SIDE, SIDE, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode in the middle of the table."""
        super().reset(seed=seed)
        given = (options or {}).get("goal")
        self.goal = self.np_random.uniform(-SIDE, SIDE, 2) if given is None else np.array(given)
        self.finger = self.np_random.uniform(-0.02, 0.02, 2)
        return self.finger.astype(np.float32), {"is_success": False}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Moves the finger."""
        self.finger = np.clip(self.finger + action, -SIDE, SIDE)
        distance = float(np.linalg.norm(self.finger - self.goal))
        success = {"is_success": distance < NEAR}
        return self.finger.astype(np.float32), -distance, False, False, success

    def render(self) -> np.ndarray:
        """The table from above, `[PIXELS, PIXELS, 3]` uint8; y is up."""
        at = ((np.arange(PIXELS) + 0.5) / PIXELS * 2 - 1) * SIDE
        x, y = np.meshgrid(at, at[::-1])
        image = np.full((PIXELS, PIXELS, 3), (235, 230, 220), np.uint8)
        for place, radius, color in (
            (self.goal, NEAR, (60, 160, 80)),
            (self.finger, 0.02, (200, 40, 40)),
        ):
            image[np.hypot(x - place[0], y - place[1]) < radius] = color
        return image


gymnasium.register("HiddenGoal-v0", entry_point=f"{__name__}:HiddenGoal", max_episode_steps=20)


if __name__ == "__main__":
    goals = np.random.default_rng(0).uniform(-0.9 * SIDE, 0.9 * SIDE, (60, 2)).round(3)
    tasks = {"reset": [{"goal": goal} for goal in goals.tolist()]}
    Path(sys.argv[1]).write_text(json.dumps(tasks))
    print(f"{len(goals)} goals in {sys.argv[1]}")
