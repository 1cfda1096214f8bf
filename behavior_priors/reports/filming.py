"""Episodes as pictures: every step of the task is a frame, whatever the agent chooses at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from behavior_priors.types import Env, Params, PRNGKey

VIDEO_SIZE = (320, 240)
"""Width and height of a frame, in pixels."""

FRAMES_PER_SECOND = 12.0

_STRIP = 16
"""Pixels of the line under a picture."""

_FONT = 11


PIECE = 50
"""Frames of an episode that are made at once: a whole film would not fit into memory."""


class Film(NamedTuple):
    """A piece of a film of episodes `[E, T]`; what comes after an episode's end is its last state.

    Attributes:
      frames: `[E, T, height, width, 3]` uint8.
      returns: `[E, T]`, so far.
      success: `[E, T]` bool, the task's condition.
      steps: `[E, T]`, of each episode, so far.
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
) -> Iterator[Film]:
    """Films the deterministic policy of an agent, until the last episode is over.

    Args:
      env: the task's own, which can be drawn.
      agent: a method put together for it, which does not infer its task.
      policy: its parameters.
      key: of the episodes: all agents are met with the same.
      episodes: how many.
      size: width and height of a frame, in pixels.

    Returns:
      Pieces of the film, of at most `PIECE` frames an episode, one after the other.
    """
    width, height = size
    render = env.render
    assert render is not None
    reset_key, _ = jax.random.split(key)
    controller = make_controller(env, agent, ControllerConfig())
    act = jax.vmap(controller.act, in_axes=(None, 0, 0))
    blank = controller.init()

    def step(carry: Any, _: None) -> tuple[Any, Any]:
        states, memory, reward, total, taken = carry
        over = states.terminated | states.truncated
        first, last = taken == 0, jnp.zeros(episodes, bool)
        action, memory = act(policy, memory, Sense(states.observation, reward, first, last))
        stepped = jax.vmap(env.step)(states, action)
        after = jax.vmap(select)(over, states, stepped)
        reward = jnp.where(over | after.diverged, 0.0, after.reward)
        frames = jax.vmap(lambda s: render(s, width, height))(states)
        carry = (after, memory, reward, total + reward, taken + ~over)
        return carry, ((frames, total, states.success, taken), over)

    @jax.jit
    def begin() -> Any:
        memory = jax.tree.map(lambda x: jnp.broadcast_to(x, (episodes, *x.shape)), blank)
        zeros = jnp.zeros(episodes)
        taken = jnp.zeros(episodes, jnp.int32)
        return reset_many(env, reset_key, episodes), memory, zeros, zeros, taken

    @jax.jit
    def go_on(carry: Any) -> Any:
        return jax.lax.scan(step, carry, length=PIECE)

    carry = begin()
    for start in range(0, env.episode_length + 1, PIECE):
        carry, shown = go_on(carry)
        piece, over = jax.device_get(shown)
        # the first frame in which all are over is the last one
        all_over = over.all(axis=1)
        count = int(all_over.argmax()) + 1 if all_over.any() else PIECE
        count = min(count, env.episode_length + 1 - start)
        yield Film(*(np.swapaxes(x[:count], 0, 1) for x in piece))
        if all_over.any():
            return


def with_captions(film: Film, *, measures_success: bool) -> list[np.ndarray]:
    """Each episode's frames `[T, height + strip, width, 3]`, with its numbers under it."""
    episodes = []
    for frames, *numbers in zip(*film, strict=True):
        lines = [
            f"step {taken}, return {total:.4g}{', success' if measures_success and won else ''}"
            for total, won, taken in zip(*numbers, strict=True)
        ]
        episodes.append(with_lines(frames, lines))
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
