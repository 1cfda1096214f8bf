"""Acting through skills: one action of the agent is many of the environment's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.envs.base import select
from behavior_priors.envs.guard import check_step
from behavior_priors.envs.wrappers.decode import correction
from behavior_priors.types import ActionSpec, Array, Env, Observation, Params, SkillModel, State


class SkillPlayer(NamedTuple):
    """Skills as they are executed, one action after the other.

    Attributes:
      horizon: actions of a skill.
      choice_size: numbers by which an agent chooses one.
      begin: `(choice [choice_size], observation) -> plan`.
      advance: `(plan, observation) -> (action [action_size], plan)`.
    """

    horizon: int
    choice_size: int
    begin: Callable[[Array, Observation], Any]
    advance: Callable[[Any, Observation], tuple[Array, Any]]


def play_skills(
    skills: SkillModel,
    params: Params,
    *,
    bound: float | None = None,
    squash: bool = False,
    residual: float | None = None,
) -> SkillPlayer:
    """A skill model with its parameters, executed as `execute_skill` does it.

    Args:
      skills: the skill model.
      params: its parameters, frozen.
      bound: see `execute_skill`.
      squash: see `execute_skill`.
      residual: see `execute_skill`.
    """
    size = skills.latent_size + (0 if residual is None else skills.action_size)

    def begin(choice: Array, observation: Observation) -> tuple[Any, Array]:
        """The plan of a skill, and what is added to its actions."""
        skill, rest = choice[: skills.latent_size], choice[skills.latent_size :]
        added = jnp.zeros(()) if residual is None else correction(rest, bound, residual)
        return skills.begin(params, skill, observation), added

    def advance(plan: Any, observation: Observation) -> tuple[Array, Any]:
        plan, added = plan
        action, plan = skills.advance(params, plan, observation)
        action = jnp.tanh(action) if squash else action
        return (action if residual is None else action + added), (plan, added)

    return SkillPlayer(skills.horizon, size, begin, advance)


def execute_skill(
    env: Env,
    skills: SkillModel,
    params: Params,
    *,
    bound: float | None = None,
    squash: bool = False,
    residual: float | None = None,
) -> Env:
    """The environment whose action is a skill: SPiRL's way to act *through* a skill model.

    A step executes the skill for `skills.horizon` steps of the environment, or for as many as an
    episode has if those are fewer, with rewards summed as they are (Pertsch et al. 2020, section
    3.3), and ends where they led. What would follow an
    episode's end within a skill is masked: the state stays, and nothing is earned. So a transition
    is true, `(s_k, z_k, r_k + ... + r_{k+n-1}, s_{k+n})` with `n <= horizon`, and the last one of
    an episode holds its last reward. `State.time` goes on counting the environment's own steps.
    A skill that is a whole episode ends the task with it: nothing comes after, a time limit or not.

    Args:
      env: whose actions the skills are made of.
      skills: the skill model.
      params: its parameters, frozen.
      bound: of the skills that the agent chooses; None for the whole space.
      squash: execute the hyperbolic tangent of decoded actions, as the authors' closed-loop code
        does though its decoder learned the actions themselves.
      residual: the most that the agent may add to each dimension of every action of a skill, chosen
        beside it; None for nothing.

    Returns:
      An environment with the same states and another action.
    """
    player = play_skills(skills, params, bound=bound, squash=squash, residual=residual)
    # steps that cannot be taken are not counted either
    horizon = min(skills.horizon, env.episode_length)

    def execute(state: State, skill: Array, steps: int) -> tuple[State, Any, Array]:
        """The first steps of a skill: the state, the plan and the reward so far."""

        def one(carry: tuple[State, Any, Array], _: None) -> tuple[tuple[State, Any, Array], None]:
            state, plan, total = carry
            over = state.terminated | state.truncated
            action, plan = player.advance(plan, state.observation)
            raw = env.step(state, action)
            checked = check_step(env, state, raw)[0]
            # what is wrong ends the skill and stays: whoever makes the whole step says what it was
            stepped = raw._replace(
                terminated=checked.terminated,
                truncated=checked.truncated,
                success=checked.success,
            )
            total = total + jnp.where(over, 0.0, stepped.reward)
            return (select(over, state, stepped), plan, total), None

        plan = player.begin(skill, state.observation)
        return jax.lax.scan(one, (state, plan, jnp.zeros(())), length=steps)[0]

    def earned(state: State, total: Array) -> State:
        terminated = state.terminated | state.truncated if skills.is_whole else state.terminated
        return state._replace(reward=total, terminated=terminated)

    def step(state: State, skill: Array) -> State:
        state, _, total = execute(state, skill, horizon)
        return earned(state, total)

    def step_then_reset(state: State, skill: Array) -> tuple[State, State]:
        assert env.step_then_reset is not None
        state, plan, total = execute(state, skill, horizon - 1)
        over = state.terminated | state.truncated
        action, _ = player.advance(plan, state.observation)
        stepped, following = env.step_then_reset(state, action)
        total = total + jnp.where(over, 0.0, stepped.reward)
        stepped = earned(select(over, state, stepped), total)
        began = stepped.terminated | stepped.truncated
        return stepped, following._replace(reward=jnp.where(began, 0.0, total))

    return env._replace(
        action_spec=ActionSpec(player.choice_size, bound),
        episode_length=math.ceil(env.episode_length / horizon),
        step=step,
        step_then_reset=step_then_reset if env.step_then_reset else None,
        steps_per_action=env.steps_per_action * horizon,
        demonstrate=None,
    )
