"""A gymnasium task of one's own: a car drives forward into a bay of a car park.

    python -m experiments.parrot --flagfile=examples/parking/parking.flags

Nothing here knows of this project: the environment is found by gymnasium's `module:Id`, and its
recordings are an HDF5 file in robomimic's layout (see `record.py`).
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

TIME_STEP = 0.1  # seconds
WHEELBASE = 2.5  # metres
LOT = np.array([20.0, 12.0])  # metres
BAYS = 8
BAY_Y = 10.0  # middle of every bay, metres
MAX_SPEED = 4.0  # metres per second

ACTION_LOW = np.array([-3.0, -0.6], np.float32)  # metres per second squared, radians of steering
ACTION_HIGH = np.array([2.0, 0.6], np.float32)


def bay_x(bay: int) -> float:
    """Middle of a bay along the row, metres."""
    return float(LOT[0]) * (bay + 0.5) / BAYS


class Parking(gymnasium.Env):
    """Reward 1 and the end of the task when the car stands in its bay, facing north.

    The car begins in the lane at the south, facing either way along it. It is seen: where it is and
    points to, and how fast it is. Which bay is its own is not.

    Args:
      bay: from 0 to 7.
    """

    def __init__(self, bay: int = 5) -> None:
        if not 0 <= bay < BAYS:
            raise ValueError(f"bay={bay} should be from 0 to {BAYS - 1}")
        self.bay = bay
        self.action_space = gymnasium.spaces.Box(ACTION_LOW, ACTION_HIGH)
        self.observation_space = gymnasium.spaces.Dict(
            {
                # x, y in metres from the lot's south-west corner; cosine, sine of the heading
                "pose": gymnasium.spaces.Box(
                    np.array([0.0, 0.0, -1.0, -1.0], np.float32),
                    np.array([*LOT, 1.0, 1.0], np.float32),
                ),
                "speed": gymnasium.spaces.Box(0.0, MAX_SPEED, (1,), np.float32),
            }
        )

    def observe(self) -> dict[str, np.ndarray]:
        """What is seen of the car."""
        pose = [*self.position, np.cos(self.heading), np.sin(self.heading)]
        return {
            "pose": np.array(pose, np.float32),
            "speed": np.array([self.speed], np.float32),
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed)
        self.position = self.np_random.uniform([1.0, 2.0], [19.0, 3.0])
        self.heading = 0.0 if self.position[0] < LOT[0] / 2 else np.pi
        self.heading += self.np_random.uniform(-0.2, 0.2)
        self.speed = 0.0
        return self.observe(), {}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Drives for a tenth of a second, by the kinematic bicycle model."""
        acceleration, steering = np.clip(action, ACTION_LOW, ACTION_HIGH).astype(float)
        self.speed = float(np.clip(self.speed + TIME_STEP * acceleration, 0.0, MAX_SPEED))
        self.heading += TIME_STEP * self.speed * np.tan(steering) / WHEELBASE
        ahead = np.array([np.cos(self.heading), np.sin(self.heading)])
        wanted = self.position + TIME_STEP * self.speed * ahead
        self.position = np.clip(wanted, 0.5, LOT - 0.5)
        if (self.position != wanted).any():  # a wall
            self.speed = 0.0
        parked = self.is_parked()
        return self.observe(), float(parked), parked, False, {"success": parked}

    def is_parked(self) -> bool:
        """In the bay, within a third of a radian of north, and slower than 1 m/s."""
        aside, along = np.abs(self.position - [bay_x(self.bay), BAY_Y])
        is_north = abs(np.sin(self.heading) - 1.0) < 1.0 - np.cos(1 / 3)
        return bool(aside < 1.0 and along < 1.2 and is_north and self.speed < 1.0)


gymnasium.register("Parking-v0", entry_point=f"{__name__}:Parking", max_episode_steps=120)
