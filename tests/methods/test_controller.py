"""A controller does step by step what its agent does in training's environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.base import begin_many
from behavior_priors.envs.rollout import Rollout, rollout_from
from behavior_priors.errors import UserError
from behavior_priors.evaluation import adapt as adapting
from behavior_priors.evaluation.adapt import make_adapt
from behavior_priors.evaluation.evaluate import policy_of
from behavior_priors.learner import MetaLearner
from behavior_priors.methods import controller as controllers
from behavior_priors.methods.controller import ControllerConfig, Sense, make_controller
from behavior_priors.methods.learning import Trained
from behavior_priors.types import Array, State
from experiments.restore import RestoredRun, as_demonstrator
from tests.methods.agents import Made, make

MAZE = "--env=maze/test?distance=3&episode_length=20"
POINT = "--env=point/dense?episode_length=6"


def episode_by_steps(
    made: Made, state: State, act: Callable[..., Any], memory: Any
) -> tuple[list[Array], list[State], Any]:
    """An episode of the task's own environment, from a state on: actions, states, memory."""
    step = jax.jit(made.env.step)
    actions, states, reward = [], [state], jnp.zeros(())
    yes, no = jnp.ones((), bool), jnp.zeros((), bool)
    for _ in range(made.env.episode_length):
        first = yes if len(states) == 1 else no
        sense = Sense(state.observation, reward, first, no)
        action, memory = act(made.policy, memory, sense)
        state = step(state, action)
        reward = state.reward
        actions.append(action)
        states.append(state)
    _, memory = act(made.policy, memory, Sense(state.observation, reward, no, yes))
    return actions, states, memory


def as_in_training(made: Made, initial: State) -> Rollout:
    """The same episode as evaluation runs it."""
    env, learner = made.agent.env, made.agent.learner
    policy = policy_of(learner, made.policy, explore=False)

    def act(states: State, key: Array) -> Array:
        return jax.vmap(policy)(states, key[None])

    keys = jax.random.split(jax.random.key(5), env.episode_length)
    initial = jax.tree.map(lambda x: x[None], initial)
    return jax.jit(lambda states: rollout_from(env, states, act, keys))(initial)


@pytest.mark.parametrize(
    ("every", "arguments"),
    [
        (1, ("--methods=sac",)),
        (1, ("--methods=own", "--learner=ppo", "--ppo.policy_widths=8", "--ppo.value_widths=8")),
        (1, ("--methods=parrot", "--real_nvp.couplings=2")),
        (1, ("--methods=parrot", "--real_nvp.history=3", "--real_nvp.couplings=2")),
        (1, ("--methods=parrot", "--real_nvp.couplings=2", "--parrot.latents.residual=0.3")),
        (4, ("--methods=ssp", "--skill_vae.horizon=4")),
        # the last skill is cut off by the episode's end
        (6, ("--methods=ssp", "--skill_vae.horizon=6", "--ssp.latents.residual=0.2")),
        (20, ("--methods=traj_rl", "--trajectory_vae.widths=8")),
    ],
    ids=lambda x: "+".join(x).replace("--", "") if isinstance(x, tuple) else str(x),
)
def test_it_acts_as_in_training(every: int, arguments: tuple[str, ...]) -> None:
    made = make(MAZE, *arguments)
    initial = jax.jit(made.agent.env.reset)(jax.random.key(3))
    start = jax.jit(made.env.reset)(jax.random.key(3))
    controller = make_controller(made.env, made.agent, ControllerConfig())
    act = jax.jit(controller.act)
    actions, states, memory = episode_by_steps(made, start, act, controller.init())
    expected = as_in_training(made, initial)
    # what was chosen moves the mass, or the test would say nothing
    assert np.ptp([np.asarray(x.observation["position"]) for x in states], axis=0).max() > 0.05
    for name in made.env.observation_spec:
        ours = np.stack([np.asarray(x.observation[name]) for x in states])
        theirs = np.asarray(expected.observation[name][0])
        at = [min(every * i, len(ours) - 1) for i in range(len(theirs))]
        np.testing.assert_allclose(ours[at], theirs, rtol=1e-5, atol=1e-5, err_msg=name)
    # the next episode is the same one, whatever the last one has left in memory
    again, _, _ = episode_by_steps(made, start, act, memory)
    np.testing.assert_array_equal(np.stack(actions), np.stack(again))


def test_exploring_draws_actions_from_its_seed() -> None:
    made = make(MAZE, "--methods=sac")
    start = jax.jit(made.env.reset)(jax.random.key(3))

    def first_actions(config: ControllerConfig) -> np.ndarray:
        controller = make_controller(made.env, made.agent, config)
        actions, _, _ = episode_by_steps(made, start, jax.jit(controller.act), controller.init())
        return np.stack(actions)

    mode = first_actions(ControllerConfig())
    drawn, same, other = (
        first_actions(ControllerConfig(explore=True, seed=seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(drawn, same)
    assert np.abs(drawn - mode).max() > 0.1
    assert np.abs(drawn - other).max() > 0.1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--infer=product_of_gaussians",),
        ("--infer=gru",),
        ("--infer=product_of_gaussians", "--through=real_nvp", "--real_nvp.couplings=2"),
        ("--infer=product_of_gaussians", "--through=skill_vae", "--skill_vae.horizon=4"),
    ],
    ids=lambda x: "+".join(x).replace("--", ""),
)
def test_it_infers_its_task_as_in_training(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (controllers, adapting):
        # keys of descriptions are drawn otherwise here and there
        monkeypatch.setattr(module, "describe", lambda belief, key: belief.mean)
    sizes = ("--adapt.trajectories=3", "--adapt.exploration=1", "--tasks.train=2", "--tasks.test=1")
    made = make(POINT, "--methods=pearl", *arguments, *sizes)
    learner = made.agent.learner
    assert isinstance(learner, MetaLearner)
    assert made.env.tasks is not None
    task = jax.jit(made.env.tasks.sample, static_argnums=1)(jax.random.key(4), 1)
    adapt = make_adapt(made.agent.env, learner, made.config.adapt)
    expected = jax.jit(adapt)(made.policy, task, jax.random.key(6)).episodes

    controller = make_controller(made.env, made.agent, ControllerConfig(adapt=made.config.adapt))
    memory, act = controller.init(), jax.jit(controller.act)
    for number, key in enumerate(jax.random.split(jax.random.key(6), 3)):
        begin_key = jax.random.split(key, 3)[0]
        start = jax.tree.map(lambda x: x[0], begin_many(made.env, task, begin_key))
        _, states, memory = episode_by_steps(made, start, act, memory)
        theirs = expected.observation["position"][number, 0]
        ours = np.stack([np.asarray(x.observation["position"]) for x in states])
        every = 1 if made.agent.skills is None else made.agent.skills.horizon
        at = [min(every * i, len(ours) - 1) for i in range(len(theirs))]
        np.testing.assert_allclose(ours[at], theirs, rtol=1e-4, atol=1e-5)
        if number:
            known = int(memory["context"].counts.sum())
            assert known == (number + 1) * made.agent.env.episode_length


@pytest.mark.parametrize(
    "arguments",
    [("--methods=parrot", "--real_nvp.history=3", "--real_nvp.couplings=2"), ("--methods=ssp",)],
)
def test_whoever_remembers_cannot_demonstrate_from_states(arguments: tuple[str, ...]) -> None:
    made = make(MAZE, *arguments)
    trained = Trained(made.agent, made.policy, 0)
    run = RestoredRun(made.config, made.env, None, {"own": trained})
    with pytest.raises(UserError, match="does not choose single actions from observations alone"):
        as_demonstrator(run, "own", explore=False)
