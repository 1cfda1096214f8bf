"""A gymnasium task in NumPy: a finger pushes a puck over a table to a goal.

    python -m experiments.run --flagfile=examples/planar/planar.flags

Observations are a dictionary of a state, a goal and a camera; actions are metres, with bounds that
are not symmetric, because the arm is slower on its way back.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

SIDE = 0.4  # metres of the table
FINGER, PUCK = 0.012, 0.03  # radii, metres
NEAR = 0.02  # metres at which the puck is at its goal
PIXELS = 32
SUBSTEPS = 2

ACTION_LOW = np.array([-0.008, -0.008], np.float32)  # metres
ACTION_HIGH = np.array([0.012, 0.008], np.float32)

CORNER = np.array([[0.27, 0.27], [0.35, 0.35]])  # where the new task's goals are
_BACKGROUND, _RED, _BLUE, _GREEN = np.array(
    [[235, 230, 220], [200, 40, 40], [40, 80, 200], [60, 160, 80]], np.uint8
)


class Planar(gymnasium.Env):
    """Reward 1 and the end of the task when the puck is within two centimetres of its goal.

    Args:
      goals: `corner` for goals in the corner of the table; `elsewhere` for all other places.
      render_mode: `rgb_array` for larger pictures of what the camera sees.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (gymnasium's own)

    def __init__(self, goals: str = "corner", render_mode: str | None = None) -> None:
        if goals not in ("corner", "elsewhere"):
            raise ValueError(f"goals={goals} should be corner or elsewhere")
        self.goals, self.render_mode = goals, render_mode
        box = gymnasium.spaces.Box
        self.action_space = box(ACTION_LOW, ACTION_HIGH)
        self.observation_space = gymnasium.spaces.Dict(
            {
                # finger and puck, x and y in metres
                "state": box(0.0, SIDE, (4,), np.float32),
                "goal": box(0.0, SIDE, (2,), np.float32),
                "camera": box(0, 255, (PIXELS, PIXELS, 3), np.uint8),
            }
        )

    def observe(self) -> dict[str, np.ndarray]:
        """What is seen."""
        return {
            "state": np.concatenate([self.finger, self.puck]).astype(np.float32),
            "goal": self.goal.astype(np.float32),
            "camera": self.picture(PIXELS),
        }

    def picture(self, pixels: int) -> np.ndarray:
        """The table from above, `[pixels, pixels, 3]` uint8; y is up."""
        at = (np.arange(pixels) + 0.5) / pixels * SIDE
        x, y = np.meshgrid(at, at[::-1])
        image = np.broadcast_to(_BACKGROUND, (pixels, pixels, 3)).copy()
        for place, radius, color in (
            (self.goal, NEAR, _GREEN),
            (self.puck, PUCK, _BLUE),
            (self.finger, FINGER, _RED),
        ):
            image[np.hypot(x - place[0], y - place[1]) < radius] = color
        return image

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed)
        draw = self.np_random.uniform
        self.puck = draw(0.12, 0.24, 2)
        self.goal = draw(*CORNER)
        while self.goals == "elsewhere" and not self._is_elsewhere():
            self.goal = draw(0.05, SIDE - 0.05, 2)
        angle = draw(0.0, 2.0 * np.pi)
        self.finger = self.puck + (0.06 + 0.03 * draw()) * np.array([np.cos(angle), np.sin(angle)])
        self.finger = np.clip(self.finger, FINGER, SIDE - FINGER)
        return self.observe(), {"is_success": False}

    def _is_elsewhere(self) -> bool:
        in_corner = (self.goal > CORNER[0] - 0.05).all()
        return bool(not in_corner and np.linalg.norm(self.goal - self.puck) > 2 * NEAR)

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Moves the finger; the puck gives way."""
        move = np.clip(action, ACTION_LOW, ACTION_HIGH).astype(float) / SUBSTEPS
        for _ in range(SUBSTEPS):
            self.finger = np.clip(self.finger + move, FINGER, SIDE - FINGER)
            apart = self.puck - self.finger
            distance = max(float(np.linalg.norm(apart)), 1e-9)
            if distance < FINGER + PUCK:
                self.puck = self.finger + apart / distance * (FINGER + PUCK)
                self.puck = np.clip(self.puck, PUCK, SIDE - PUCK)
        there = bool(np.linalg.norm(self.puck - self.goal) < NEAR)
        return self.observe(), float(there), there, False, {"is_success": there}

    def render(self) -> np.ndarray:
        """A larger picture of the table."""
        return self.picture(8 * PIXELS)


gymnasium.register("Planar-v0", entry_point=f"{__name__}:Planar", max_episode_steps=80)
