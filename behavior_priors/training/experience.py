"""What every training loop does with its environments, and what it tells about their episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar, cast

import jax
import jax.numpy as jnp

from behavior_priors.envs.base import advance, reset_many
from behavior_priors.envs.guard import BEGINNING, CONTEXT_REWARD, REWARD, checked
from behavior_priors.learner import Choice
from behavior_priors.types import Array, Env, Metrics, State, Transition


class RunState(Protocol):
    """What is asked of the state of a training loop, a frozen dataclass pytree.

    Attributes:
      learner: the learner's state.
      steps: `[]` int32, environment steps taken; an action that stands for several counts as all of
        them, also where the episode's end cut it short.
    """

    @property
    def learner(self) -> Any: ...
    @property
    def steps(self) -> Array: ...


class EpisodesState(RunState, Protocol):
    """That of a loop whose episodes go on from one epoch to the next.

    Attributes:
      envs: the environments' states `[num_envs]`.
      episode_return: `[num_envs]`, of the episodes under way.
      key: source of randomness.
    """

    @property
    def envs(self) -> State: ...
    @property
    def episode_return(self) -> Array: ...
    @property
    def key(self) -> Array: ...


AnyRunState = TypeVar("AnyRunState", bound=RunState)
AnyEpisodesState = TypeVar("AnyEpisodesState", bound=EpisodesState)


def step_envs(
    env: Env, envs: State, episode_return: Array, choice: Choice
) -> tuple[State, Array, Transition, Metrics]:
    """One step of every environment; where that ends an episode, the next one begins.

    A diverged step has neither reward nor success.

    Args:
      env: unbatched.
      envs: states `[num_envs]`.
      episode_return: `[num_envs]`, of the episodes under way.
      choice: `[num_envs]`, what is done in each.

    Returns:
      The states and returns to go on from, the transitions, with the choice's notes, and sums
      over the environments for `summarize_episodes`.
    """
    envs, transition, stepped, wrong = jax.vmap(lambda s, a: advance(env, s, a))(
        envs, choice.action
    )
    transition = transition._replace(notes=choice.notes)
    done = transition.terminated | transition.truncated
    reward = jnp.where(transition.valid, transition.reward, 0.0)
    episode_return = episode_return + reward
    episodes = {
        "return": jnp.sum(episode_return, where=done),
        "success": jnp.sum(stepped.success & done & transition.valid, dtype=jnp.float32),
        "count": jnp.sum(done, dtype=jnp.float32),
        "diverged": jnp.sum(~transition.valid, dtype=jnp.float32),
        "wrong": jnp.sum(wrong, axis=0, dtype=jnp.float32),
        "steps": jnp.float32(len(done)),
    }
    return envs, jnp.where(done, 0.0, episode_return), transition, episodes


def summarize_episodes(env: Env, total: Metrics) -> Metrics:
    """Metrics `episode/...` of an epoch, from sums over its steps.

    `return` and `success` are means over the episodes that ended, NaN where none did, and success
    is there only where the environment measures it. Those of `name_wrong` say why steps diverged.
    """
    total = dict(total)
    ended = total.pop("count")
    diverged, wrong, steps = (total.pop(name) for name in ("diverged", "wrong", "steps"))
    if not env.measures_success:
        total.pop("success")
    return {
        **{f"episode/{name}": x / ended for name, x in total.items()},
        "episode/count": ended,
        "episode/diverged": diverged,
        **name_wrong(env, wrong, diverged, steps),
    }


def name_wrong(env: Env, counts: Array, diverged: Array, steps: Array) -> Metrics:
    """Metrics `diverged/NAME`: steps of an epoch with what cannot be learned from, by what it was.

    And `diverged/all`, 1 where every step diverged, else 0.

    Args:
      env: whose steps.
      counts: `[names]`, sums of what `base.advance` found.
      diverged: steps that diverged.
      steps: that were taken.
    """
    named = {f"diverged/{name}": counts[i] for i, name in enumerate(checked(env))}
    return {**named, "diverged/all": (diverged == steps).astype(jnp.float32)}


def explain_diverged(environment: str, metrics: Mapping[str, float]) -> str | None:
    """A line about the steps of an epoch with what cannot be learned from; None without any.

    Args:
      environment: its name.
      metrics: of the epoch, on the host.
    """
    found = {
        name.removeprefix("diverged/"): count
        for name, count in metrics.items()
        if name.startswith("diverged/") and name != "diverged/all" and count > 0
    }
    if not found:
        return None
    texts = {
        REWARD: "the reward",
        CONTEXT_REWARD: "the reward that a task is told by",
        BEGINNING: "what an episode begins with",
    }
    arrays = ", ".join(
        f"{texts.get(name, f'the observation {name}')} ({count:.0f})"
        for name, count in found.items()
    )
    return (
        f"{environment} gave NaN, infinity or numbers too large to learn from in {arrays}: "
        f"{metrics['episode/diverged']:.0f} steps of this epoch were left out, their episodes "
        "truncated"
    )


def drop_zeros(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics without the names of what has not diverged."""
    return {n: x for n, x in metrics.items() if x or not n.startswith("diverged/")}


def resume_envs(env: Env, state: AnyEpisodesState, num_envs: int) -> AnyEpisodesState:
    """A state that another process saved, as one that can be gone on from.

    It is that state, unless the environments live outside of their states: those begin new
    episodes.
    """
    if env.step_then_reset is None:
        return state
    key, env_key = jax.random.split(state.key)
    envs = jax.jit(lambda k: reset_many(env, k, num_envs))(env_key)
    return replace(cast(Any, state), envs=envs, episode_return=jnp.zeros(num_envs), key=key)


def release_envs(env: Env, state: EpisodesState) -> None:
    """Gives up the episodes of a state that is not run any more."""
    if env.release is not None:
        env.release(state.envs)
