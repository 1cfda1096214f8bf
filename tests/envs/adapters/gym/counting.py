"""A gymnasium environment of known values, and how tests run it; importing it registers it.

It pays 1 a step, has a time limit of 4 steps and observes what happened to it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.envs.registry import make_env
from behavior_priors.types import Env, State

COUNTING = "gym/tests.envs.adapters.gym.counting:Counting-v0"
LIMIT = 4
FRAME = (6, 8, 3)
NUM_ENVS = 3

GONE = "this state is gone"
"""What is said of a state that cannot be stepped."""


class Counting(gymnasium.Env):
    """Observes `[draw, episode, time, action]`: a number drawn at the reset, counts, the action.

    Attributes:
      made: every instance, in the order in which they were made.
      actions: what `step` was given.
      seeds: what `reset` was given.
      drawn: how many images were drawn.
    """

    made: ClassVar[list[Counting]] = []
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}

    def __init__(
        self,
        terminate_at: int = 0,
        spoil_at: int = 0,
        spoil: str = "observation",
        says_success: bool = False,
        cue: str = "none",
        action: str = "box",
        low: float = -1.0,
        high: float = 1.0,
        observe: str = "counts",
        render_mode: str | None = None,
    ):
        """Plans what happens.

        Args:
          terminate_at: step that ends the task; 0 for none.
          spoil_at: step that gives NaN; 0 for none.
          spoil: what is NaN then, `observation` or `reward`.
          says_success: whether `info` has `is_success`: from the third step on.
          cue: `none`; or `constant` or `time` for another observation, `cue` `[1]`.
          action: kind of the action space.
          low: bound of a `box`.
          high: bound of a `box`.
          observe: kind of the observation space.
          render_mode: gymnasium's.
        """
        self.terminate_at, self.spoil_at, self.spoil = terminate_at, spoil_at, spoil
        self.says_success, self.cue, self.observe = says_success, cue, observe
        self.render_mode = render_mode
        self.action_space = {
            "box": spaces.Box(np.float32(low), np.float32(high), (2,), np.float32),
            "uneven": spaces.Box(
                np.array([[-0.3], [2.0]]), np.array([[1.7], [2.5]]), (2, 1), np.float64
            ),
            "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float32),
            "whole": spaces.Box(-3, 3, (2,), np.int64),
            "discrete": spaces.Discrete(5),
        }[action]
        counts = spaces.Box(-np.inf, np.inf, (4,), np.float64)
        cues = spaces.Dict({"cue": spaces.Box(-1.0, 1.0, (1,), np.float32)})
        self.observation_space = {
            "counts": counts if cue == "none" else cues,
            "nested": spaces.Dict(
                {
                    "image": spaces.Box(0, 255, (3, 3), np.uint8),
                    "robot": spaces.Dict(
                        {
                            "counts": counts,
                            "whole": spaces.Box(0, 100, (2,), np.int64),
                        }
                    ),
                    "nothing": spaces.Box(0.0, 1.0, (0,), np.float32),
                }
            ),
            "discrete": spaces.Discrete(3),
            "tuple": spaces.Tuple((counts, counts)),
        }[observe]
        self.episode = self.time = 0
        self.seeds: list[int | None] = []
        self.actions: list[np.ndarray] = []
        self.drawn = 0
        self.made.append(self)

    def _counts(self, action: float) -> Any:
        counts = np.array([self.draw, self.episode, self.time, action])
        if self.time == self.spoil_at and self.time and self.spoil == "observation":
            counts[0] = np.nan
        if self.observe == "nested":
            return {
                "image": np.full((3, 3), 10 * self.time, np.uint8) + np.arange(3, dtype=np.uint8),
                "robot": {"counts": counts, "whole": np.array([self.time, 7])},
                "nothing": np.zeros(0, np.float32),
            }
        if self.cue != "none":
            over = self.time / LIMIT if self.cue == "time" else 0.0
            return {"cue": np.array([over], np.float32)}
        return counts

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed, options=options)
        self.seeds.append(seed)
        self.draw = self.np_random.uniform()
        self.episode, self.time = self.episode + 1, 0
        return self._counts(0.0), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Counts."""
        self.time += 1
        self.actions.append(action)
        spoiled = self.time == self.spoil_at and self.spoil == "reward"
        return (
            self._counts(float(action.flat[0])),
            np.nan if spoiled else 1.0,
            self.time == self.terminate_at,
            False,
            {"is_success": np.bool_(self.time >= 3)} if self.says_success else {},
        )

    def render(self) -> np.ndarray:
        """An image whose top half is the time and whose left column is the episode."""
        self.drawn += 1
        image = np.full(FRAME, 100, np.uint8)
        image[: FRAME[0] // 2] = self.time
        return image


gymnasium.register("Counting-v0", entry_point=Counting, max_episode_steps=LIMIT)
gymnasium.register("CountingForEver-v0", entry_point=Counting)


def make_counting(query: str = "", **options: object) -> Env:
    return make_env(f"{COUNTING}?{query}" if query else COUNTING, **options)


def run(env: Env, actions: np.ndarray, seed: int = 0):
    """States after the resets, transitions `[T, N]` and the states that the steps led to."""

    @jax.jit
    def go(key: jax.Array, actions: jax.Array):
        def body(state: State, action: jax.Array):
            state, transition, stepped = jax.vmap(lambda s, a: step_and_reset(env, s, a))(
                state, action
            )
            return state, (transition, stepped, state)

        initial = reset_many(env, key, actions.shape[1])
        return initial, *jax.lax.scan(body, initial, actions)[1]

    return jax.device_get(go(jax.random.key(seed), jnp.asarray(actions, jnp.float32)))
