"""Environments of gymnasium as people write them; importing it registers them.

`Odd-v0` does one thing otherwise than gymnasium asks, or that others do; `Plain-v0` is what old or
careless code looks like.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

ODD = "gym/tests.envs.adapters.gym.odd:Odd-v0"
LIMIT = 5

SPACES = {
    "box": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "first": spaces.Box(0, 255, (3, 16, 12), np.uint8),
    "stack": spaces.Box(0, 255, (4, 16, 12, 3), np.uint8),
    "grid": spaces.Box(0, 255, (7, 7, 3), np.uint8),
    "unclear": spaces.Box(0, 255, (16, 3, 16), np.uint8),
    "discrete": spaces.Discrete(5, start=2),
    "multi": spaces.MultiDiscrete([3, 5]),
    "binary": spaces.MultiBinary(4),
    "mixed": spaces.Tuple(
        (
            spaces.Discrete(3),
            spaces.Dict({"pos": spaces.Box(-1.0, 1.0, (2,)), "a b/c": spaces.MultiBinary(2)}),
        )
    ),
    "text": spaces.Dict({"mission": spaces.Text(9), "pos": spaces.Box(-1.0, 1.0, (2,))}),
}


class Odd(gymnasium.Env):
    """Observes samples of its space, pays 1 a step.

    Attributes:
      made: every instance, in the order in which they were made.
      samples: what it has observed.
    """

    made: ClassVar[list[Odd]] = []
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}

    def __init__(
        self,
        does: str = "nothing",
        observe: str = "box",
        at: int = 2,
        says: Any = None,
        ends_at: int = 0,
        goals: Any = None,
        label: Any = None,
        render_mode: str | None = None,
    ):
        """Plans what happens.

        Args:
          does: what is odd, see `step` and `reset`.
          observe: the kind of the observation space.
          at: step, from 1, at which that is; -1 for a later episode than those that are looked at.
          says: `info["is_success"]` in the last step.
          ends_at: step at which it truncates itself; 0 for none.
          goals: an option that is a list.
          label: one that is text.
          render_mode: gymnasium's.
        """
        if does == "raise in init":
            raise KeyError("no such robot")
        self.does, self.at, self.says, self.ends_at = does, at, says, ends_at
        self.goals, self.label, self.render_mode = goals, label, render_mode
        self.observation_space = SPACES[observe]
        self.observation_space.seed(0)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.time, self.samples = 0, []
        self.made.append(self)

    def _observe(self) -> Any:
        self.samples.append(self.observation_space.sample())
        return self.samples[-1]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begins an episode."""
        super().reset(seed=seed)
        self.time = 0
        if self.does == "raise in reset":
            raise RuntimeError("the simulator\nis not there")
        if self.does == "reset alone":
            return self._observe()
        if self.does == "begin with nan":
            return np.full(2, np.nan, np.float32), {}
        return self._observe(), {}

    def step(self, action: np.ndarray) -> Any:
        """Does it."""
        self.time += 1
        observation, reward, info = self._observe(), 1.0, {}
        is_last = self.time == (self.ends_at or LIMIT)
        if is_last and self.says is not None:
            info = self.says if isinstance(self.says, dict) else {"is_success": self.says}
        if self.time == self.at:
            if self.does == "raise":
                raise ZeroDivisionError("division by zero")
            if self.does == "four":
                return observation, reward, False, info
            reward = {
                "reward none": None,
                "reward array": np.ones(1, np.float32),
                "reward vector": np.ones(2),
                "reward text": "1",
                "reward 1e38": 1e38,
                "reward nan": np.nan,
                "reward 10**30": 10**30,
                "reward -10**400": -(10**400),
            }.get(self.does, reward)
            if self.does == "shape":
                observation = np.zeros(3, np.float32)
            if self.does == "words":
                observation = np.array(["a", "b"])
            if self.does == "observe 1e38":
                observation = np.float32([0.5, 1e38])
            if self.does == "other actions":
                self.action_space = spaces.Box(-2.0, 2.0, (2,), np.float32)
        return observation, reward, False, is_last and self.ends_at > 0, info

    def render(self) -> Any:
        """Nothing that could be shown."""
        if self.does == "raise in render":
            raise OSError("no display")
        return None


class Plain(gymnasium.Env):
    """Has a reset without a seed."""

    observation_space = SPACES["box"]
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self) -> Any:
        """Begins an episode."""
        return np.zeros(2, np.float32), {}


gymnasium.register("Odd-v0", entry_point=Odd, max_episode_steps=LIMIT)
gymnasium.register("OddForEver-v0", entry_point=Odd)
gymnasium.register("Plain-v0", entry_point=Plain, max_episode_steps=LIMIT)
