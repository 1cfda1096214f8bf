"""The kitchen's side on the host: gymnasium-robotics' FrankaKitchen, with SPiRL's rules.

Imports gymnasium, so that nothing but `kitchen` imports it, and that when a kitchen is made.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from behavior_priors.envs.adapters.foreign import quiet
from behavior_priors.envs.adapters.kitchen.columns import COLUMNS

ID = "FrankaKitchen-v1"

IN_ORDER, ANY_ORDER = range(2)
"""Entries of the observation `subtasks`."""


def count_in_order(done: int, holds: Sequence[bool]) -> int:
    """How many subtasks are done in their order.

    A subtask is done once it holds while all before it are done: one that was reached too early
    counts as soon as those before it are done, if it holds then.

    Args:
      done: how many were, of the first ones.
      holds: `[subtasks]`, what holds now, in the order.
    """
    while done < len(holds) and holds[done]:
        done += 1
    return done


class Kitchen(gymnasium.Wrapper):
    """Counts subtasks, and pays 1 for each that newly counts.

    Observes the arrays of `COLUMNS`; `completed` `[subtasks]`, 1 for those that count; and
    `subtasks` `[2]`, how many are done in order and in any order.
    """

    def __init__(self, env: gymnasium.Env, subtasks: Sequence[str], in_order: bool):
        """Starts without an episode.

        Args:
          env: observes `observation` `[59]`, and says in `info["step_task_completions"]` which
            subtasks hold after a step, those that held before included.
          subtasks: as `env` calls them, in their order.
          in_order: only what is done in this order counts.
        """
        super().__init__(env)
        self._names, self._in_order = tuple(subtasks), in_order
        size = len(self._names)
        space: Any = env.observation_space
        seen = space["observation"]
        arrays: dict[str, spaces.Space] = {
            name: spaces.Box(seen.low[columns], seen.high[columns], dtype=seen.dtype)
            for name, columns in COLUMNS.items()
        }
        arrays["completed"] = spaces.Box(0.0, 1.0, (size,), np.float32)
        arrays["subtasks"] = spaces.Box(0.0, float(size), (2,), np.float32)
        self.observation_space = spaces.Dict(arrays)
        self._done_in_order, self._done = 0, np.zeros(size, bool)

    def reset(self, **options: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begins an episode, with nothing done."""
        observation, _ = self.env.reset(**options)
        self._done_in_order, self._done = 0, np.zeros_like(self._done)
        return self._observe(observation), {"success": False}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Steps; terminates once every subtask counts."""
        observation, _, terminated, truncated, info = self.env.step(action)
        before = self._counted().sum()
        holds = [name in info["step_task_completions"] for name in self._names]
        self._done_in_order = count_in_order(self._done_in_order, holds)
        self._done |= holds
        counted = self._counted()
        success = bool(counted.all())
        terminated = bool(terminated) or success
        return (
            self._observe(observation),
            float(counted.sum() - before),
            terminated,
            bool(truncated) and not terminated,
            {"success": success},
        )

    def _counted(self) -> np.ndarray:
        if self._in_order:
            return np.arange(len(self._names)) < self._done_in_order
        return self._done

    def _observe(self, observation: Any) -> dict[str, np.ndarray]:
        vector = observation["observation"]
        return {
            **{name: vector[columns] for name, columns in COLUMNS.items()},
            "completed": self._counted().astype(np.float32),
            "subtasks": np.array([self._done_in_order, self._done.sum()], np.float32),
        }


def make_franka(subtasks: Sequence[str], noise: float, **options: Any) -> gymnasium.Env:
    """One of gymnasium-robotics' kitchens, whose subtasks are never crossed off.

    `load_robotics` comes first.

    Args:
      subtasks: as it calls them.
      noise: of the sensors, as a share of what the robot's description says.
      **options: for `gymnasium.make`.
    """
    return gymnasium.make(
        ID,
        tasks_to_complete=list(subtasks),
        terminate_on_tasks_completed=False,
        remove_task_when_completed=False,
        robot_noise_ratio=noise,
        object_noise_ratio=noise,
        disable_env_checker=True,
        **options,
    )


def load_robotics() -> None:
    """Imports gymnasium-robotics, which registers its environments, and mends it.

    Raises:
      ModuleNotFoundError: it is not installed.
    """
    # what it says there is about robot hands
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        importlib.import_module("gymnasium_robotics")
        robot: Any = importlib.import_module("gymnasium_robotics.envs.franka_kitchen.franka_env")
    # gymnasium-robotics 1.4.2 asks whether a joint's type is in a tuple of MuJoCo's enums. Those of
    # MuJoCo 3.10 were equal to NumPy's integers, those of 3.13 are not: no kitchen could be made.
    robot.robot_get_obs = _read_robot


def _read_robot(model: Any, data: Any, joint_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities of the robot's joints, which come first in the model."""
    count = sum(name.startswith("robot") for name in joint_names)
    return data.qpos[:count].copy(), data.qvel[:count].copy()
