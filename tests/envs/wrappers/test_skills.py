"""Acting through skills, in an environment that counts: the facts that break ports of SPiRL.

Numbers in brackets are those of the public code's defects in the project's notes on it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.base import advance, first_state, select, step_and_reset
from behavior_priors.envs.guard import checked
from behavior_priors.envs.rollout import rollout
from behavior_priors.envs.wrappers.skills import execute_skill
from behavior_priors.types import (
    ActionSpec,
    Array,
    ArraySpec,
    Env,
    PRNGKey,
    SkillModel,
    State,
    Transition,
)

HORIZON = 10


def counting_env(length: int, terminates: bool) -> Env:
    """Observes its steps and the last action; the reward of step `t` is `t`."""

    def reset(key: PRNGKey) -> State:
        key, _ = jax.random.split(key)
        return first_state(key, {"time": jnp.zeros(1), "action": jnp.zeros(1)}, jnp.zeros(()))

    def step(state: State, action: Array) -> State:
        time = state.time + 1
        over = time >= length
        return state._replace(
            observation={"time": time.astype(jnp.float32)[None], "action": action},
            reward=time.astype(jnp.float32),
            terminated=over & terminates,
            truncated=over & (not terminates),
            time=time,
            success=over,
            simulation=state.simulation + 1.0,
        )

    return Env(
        name="probe/counting",
        observation_spec={"time": ArraySpec((1,)), "action": ArraySpec((1,))},
        action_spec=ActionSpec(1, None),
        episode_length=length,
        reset=reset,
        step=step,
    )


def absent(*_: Any) -> Any:
    raise AssertionError("not needed to act")


def affine_skills(horizon: int = HORIZON) -> SkillModel:
    """Actions are `skill + 100 step of the skill + 10000 time observed`."""

    def advance(params: Any, plan: Any, observation: Any) -> tuple[Array, Any]:
        skill, step = plan
        action = skill[:1] + 100.0 * step + params * observation["time"]
        return action, (skill, step + 1.0)

    return SkillModel(
        name="affine",
        horizon=horizon,
        latent_size=2,
        action_size=1,
        init=absent,
        infer=absent,
        begin=lambda params, skill, observation: (skill, jnp.zeros(())),
        advance=advance,
        loss=absent,
        prior=absent,  # type: ignore[arg-type]
        prior_params=absent,
    )


PARAMS = jnp.float32(10_000.0)


def act(env: Env, skills: int) -> tuple[State, list[Transition]]:
    """Executes the skills (1, 0), (2, 0), ... with resets; transitions and the last state."""
    step = jax.jit(lambda state, skill: step_and_reset(env, state, skill))
    state, transitions = jax.jit(env.reset)(jax.random.key(0)), []
    for number in range(1, skills + 1):
        state, transition, _ = step(state, jnp.array([float(number), 0.0]))
        transitions.append(jax.device_get(transition))
    return state, transitions


def test_transitions_begin_and_end_where_the_skill_did() -> None:
    """[1] `(s_k, z_k, r_{k+1} + ... + r_{k+10}, s_{k+10})`; nothing is one step late."""
    env = execute_skill(counting_env(100, terminates=True), affine_skills(), PARAMS)
    _, transitions = act(env, 3)
    for number, transition in enumerate(transitions):
        begin = HORIZON * number
        assert transition.observation["time"] == begin
        assert transition.next_observation["time"] == begin + HORIZON
        assert transition.reward == sum(range(begin + 1, begin + HORIZON + 1))
        assert transition.action.tolist() == [number + 1.0, 0.0]
        assert not transition.terminated
        assert not transition.truncated


@pytest.mark.parametrize("name", ["time", "reward"])
@pytest.mark.parametrize("at", [13, 20])
def test_what_cannot_be_learned_from_is_named(name: str, at: int) -> None:
    """In the middle of the second skill, or in its last step."""
    counting = counting_env(100, terminates=True)

    def step(state: State, action: Array) -> State:
        after = counting.step(state, action)
        bad = jnp.where(after.time == at, jnp.nan, 0.0)
        if name == "reward":
            return after._replace(reward=after.reward + bad)
        return after._replace(
            observation={**after.observation, name: after.observation[name] + bad}
        )

    acted = execute_skill(counting._replace(step=step), affine_skills(), PARAMS)
    advance_one = jax.jit(lambda state, skill: advance(acted, state, skill))
    state, skill = jax.jit(acted.reset)(jax.random.key(0)), jnp.array([1.0, 0.0])
    for number in range(3):
        state, transition, stepped, wrong = advance_one(state, skill)
        found = {name for name, is_wrong in zip(checked(acted), wrong, strict=True) if is_wrong}
        assert found == ({name} if number == 1 else set())
        assert bool(transition.valid) == (number != 1)
        assert bool(stepped.truncated) == (number == 1)
        assert np.isfinite(transition.next_observation["time"])
        assert np.isfinite(transition.reward)
    # the third skill is the first of a new episode
    assert transition.observation["time"] == 0


def test_the_decoder_sees_every_step_and_its_own_plan() -> None:
    """[8] The last of ten actions: skill 2, the plan's step 9, time 19; one counter for both."""
    env = execute_skill(counting_env(100, terminates=True), affine_skills(), PARAMS)
    _, transitions = act(env, 2)
    assert transitions[1].next_observation["action"] == 2.0 + 900.0 + 190_000.0


@pytest.mark.parametrize("terminates", [True, False])
def test_the_last_skill_of_an_episode_may_be_shorter(terminates: bool) -> None:
    """[2, 3] 25 steps: 10, 10 and 5 of them; the last reward counts, and so does how it ended."""
    env = execute_skill(counting_env(25, terminates), affine_skills(), PARAMS)
    state, transitions = act(env, 3)
    last = transitions[-1]
    assert last.reward == 21 + 22 + 23 + 24 + 25
    assert last.next_observation["time"] == 25
    assert (last.terminated, last.truncated) == (terminates, not terminates)
    assert sum(float(t.reward) for t in transitions) == 25 * 26 / 2
    assert state.time == 0
    assert state.observation["time"] == 0


def test_an_end_on_a_skills_first_step_is_a_transition_of_its_own() -> None:
    """[4] 21 steps: the third skill is one step long."""
    env = execute_skill(counting_env(21, terminates=True), affine_skills(), PARAMS)
    _, transitions = act(env, 4)
    third = transitions[2]
    assert third.reward == 21
    assert third.observation["time"] == 20
    assert third.action.tolist() == [3.0, 0.0]
    assert third.terminated
    assert transitions[1].reward == sum(range(11, 21))
    assert transitions[3].observation["time"] == 0


def test_time_is_the_environments_own() -> None:
    env = execute_skill(counting_env(25, terminates=True), affine_skills(), PARAMS)
    assert env.steps_per_action == HORIZON
    assert env.episode_length == 3
    assert env.action_spec == ActionSpec(2, None)
    result = jax.jit(lambda key: rollout(env, lambda *_: jnp.zeros(2), key, 3))(jax.random.key(0))
    assert result.length.tolist() == [3, 3, 3]
    assert result.final.time.tolist() == [25, 25, 25]
    assert result.reward.sum(axis=1).tolist() == [325.0] * 3
    # steps after an episode's end were not taken
    assert result.final.simulation.tolist() == [25.0] * 3


def test_actions_are_executed_as_they_were_learned_unless_they_are_to_be_squashed() -> None:
    """[7] 0.9 is executed as 0.9; the public code's closed loop executes tanh(0.9) = 0.716."""
    for squash, expected in ((False, 0.9), (True, 0.7162979)):
        skills, env = affine_skills(horizon=1), counting_env(100, terminates=True)
        acted = execute_skill(env, skills, jnp.zeros(()), squash=squash)
        stepped = acted.step(acted.reset(jax.random.key(0)), jnp.array([0.9, 0.0]))
        np.testing.assert_allclose(stepped.observation["action"], [expected], rtol=1e-6)


def test_a_residual_is_added_to_every_action_of_a_skill() -> None:
    env, skills = counting_env(5, terminates=True), affine_skills(3)
    acted = execute_skill(env, skills, jnp.float32(0.0), bound=2.0, residual=0.5)
    assert acted.action_spec == ActionSpec(2 + 1, 2.0)
    state = acted.step(acted.reset(jax.random.key(0)), jnp.array([7.0, 0.0, 1.0]))
    # the third step of the skill: 7 + 2 * 100, and half of the half that it may be
    assert state.observation["action"].tolist() == [207.25]


@pytest.mark.parametrize("terminates", [True, False])
def test_a_skill_that_is_an_episode_is_one_transition_after_which_nothing_comes(
    terminates: bool,
) -> None:
    """A time limit ends the task as well: a decision of one step has no next state's value."""
    env = counting_env(4, terminates)
    acted = execute_skill(env, affine_skills(6)._replace(is_whole=True), PARAMS)
    assert acted.episode_length == 1
    # of six that there are actions for
    assert acted.steps_per_action == 4
    state, (first, second) = act(acted, 2)
    for transition in (first, second):
        assert transition.reward == 1 + 2 + 3 + 4
        assert transition.terminated
        assert transition.observation["time"] == 0
        assert transition.next_observation["time"] == 4
    assert state.time == 0
    _, (other,) = act(execute_skill(env, affine_skills(6), PARAMS), 1)
    assert bool(other.terminated) == terminates


def test_an_environment_on_the_host_resets_in_its_last_step() -> None:
    """One reset for an episode that ended within the skill, at whichever step; none otherwise."""
    resets: list[int] = []
    base = counting_env(25, terminates=True)

    def step_then_reset(state: State, action: Array) -> tuple[State, State]:
        over = state.terminated | state.truncated
        stepped = base.step(state, action)
        stepped = jax.tree.map(lambda a, b: jnp.where(over, a, b), state, stepped)
        done = stepped.terminated | stepped.truncated
        jax.debug.callback(lambda d: resets.append(int(d)), done)
        following = select(done, base.reset(state.key), stepped)
        return stepped._replace(reward=jnp.where(over, 0.0, stepped.reward)), following

    env = execute_skill(base._replace(step_then_reset=step_then_reset), affine_skills(), PARAMS)
    state, transitions = act(env, 4)
    jax.effects_barrier()
    assert resets == [0, 0, 1, 0]
    assert [float(t.reward) for t in transitions] == [55.0, 155.0, 115.0, 55.0]
    assert state.time == 10
