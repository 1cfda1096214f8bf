"""Episodes as pictures: every step of the task is a frame, whatever the agent chooses at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from behavior_priors.envs.base import reset_many, select
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.methods.agent import Agent
from behavior_priors.methods.controller import ControllerConfig, Sense, make_controller
from behavior_priors.types import Array, Env, Params, PRNGKey, State

VIDEO_SIZE = (320, 240)
"""Width and height of a frame, in pixels."""

FRAMES_PER_SECOND = 12.0

_STRIP = 16
"""Pixels of the line under a picture."""

_FONT = 11


class Film(NamedTuple):
    """Episodes `[E, T + 1]`; what comes after an episode's end is its last state.

    Attributes:
      frames: `[E, T + 1, height, width, 3]` uint8.
      returns: `[E, T + 1]`, so far.
      success: `[E, T + 1]` bool, the task's condition.
      steps: `[E]`, of each episode.
    """

    frames: np.ndarray
    returns: np.ndarray
    success: np.ndarray
    steps: np.ndarray


def filmed(env: Env, name: str, **options: Any) -> Env | None:
    """The environment to be filmed in: one of gymnasium's is made again, to be drawn.

    Args:
      env: as it is.
      name: what `--env` was given.
      **options: of `make_env`.

    Returns:
      None where it cannot be drawn, which is said.
    """
    if env.render is not None:
        return env
    why = "it has no picture of itself"
    if env.step_then_reset is not None:
        try:
            drawn = make_env(name, **options, render_mode="rgb_array")
            if drawn.render is not None:
                return drawn
        except UserError as error:
            why = str(error)
    print(f"no video of {env.name}: {why}", flush=True)
    return None


def record(
    env: Env, agent: Agent, policy: Params, key: PRNGKey, episodes: int, size: tuple[int, int]
) -> Film:
    """Films the deterministic policy of an agent.

    Args:
      env: the task's own, which can be drawn.
      agent: a method put together for it, which does not infer its task.
      policy: its parameters.
      key: of the episodes: all agents are met with the same.
      episodes: how many.
      size: width and height of a frame, in pixels.
    """
    width, height = size
    render = env.render
    assert render is not None
    reset_key, _ = jax.random.split(key)
    controller = make_controller(env, agent, ControllerConfig())
    act = jax.vmap(controller.act, in_axes=(None, 0, 0))
    blank = controller.init()

    def show(states: State) -> tuple[Array, Array]:
        return jax.vmap(lambda s: render(s, width, height))(states), states.success

    def step(carry: Any, number: Array) -> tuple[Any, Any]:
        states, memory, reward, total = carry
        over = states.terminated | states.truncated
        first, last = jnp.full(episodes, number == 0), jnp.zeros(episodes, bool)
        action, memory = act(policy, memory, Sense(states.observation, reward, first, last))
        stepped = jax.vmap(env.step)(states, action)
        after = jax.vmap(select)(over, states, stepped)
        reward = jnp.where(over | after.diverged, 0.0, after.reward)
        shown = (*show(states), total, ~over)
        return (after, memory, reward, total + reward), shown

    @jax.jit
    def run(policy: Params) -> Any:
        states = reset_many(env, reset_key, episodes)
        memory = jax.tree.map(lambda x: jnp.broadcast_to(x, (episodes, *x.shape)), blank)
        zeros = jnp.zeros(episodes)
        last, shown = jax.lax.scan(
            step, (states, memory, zeros, zeros), jnp.arange(env.episode_length)
        )
        return shown, (*show(last[0]), last[3])

    (images, success, total, alive), (image, succeeded, returned) = jax.device_get(run(policy))

    def joined(parts: np.ndarray, final: np.ndarray) -> np.ndarray:
        return np.swapaxes(np.concatenate([parts, final[None]]), 0, 1)

    return Film(
        joined(images, image), joined(total, returned), joined(success, succeeded), alive.sum(0)
    )


def with_captions(film: Film, *, measures_success: bool) -> list[np.ndarray]:
    """Each episode `[its steps + 1, height + strip, width, 3]`, with its numbers under it."""
    episodes = []
    for frames, returns, success, steps in zip(*film, strict=True):
        shown = slice(0, int(steps) + 1)
        lines = [
            f"step {t}, return {total:.4g}{', success' if measures_success and won else ''}"
            for t, (total, won) in enumerate(zip(returns[shown], success[shown], strict=True))
        ]
        episodes.append(with_lines(frames[shown], lines))
    return episodes


def with_lines(frames: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Frames `[T, height, width, 3]` with a line of text under each."""
    count, height, width = frames.shape[:3]
    made = np.full((count, height + _STRIP, width, 3), 255, np.uint8)
    made[:, :height] = frames
    font = ImageFont.load_default(_FONT)
    for frame, line in zip(made, lines, strict=True):
        strip = Image.new("RGB", (width, _STRIP), "white")
        ImageDraw.Draw(strip).text((4, _STRIP / 2), line, "black", font, anchor="lm")
        frame[height:] = np.asarray(strip)
    return made


def frames_per_second(env: Env) -> float:
    """As an environment's pictures want to be shown, where it says so."""
    return float(env.info.get("render_fps", FRAMES_PER_SECOND))
