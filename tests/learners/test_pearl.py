"""PEARL: what trains what, and that tasks are told apart."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.learner import MetaLearner
from behavior_priors.learners.pearl import (
    DESCRIPTION,
    PearlConfig,
    PearlState,
    averaged_weight,
    join,
    make_pearl,
)
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.learners.sac_value import ValueSACConfig
from behavior_priors.objectives.context import describe
from behavior_priors.priors.context_encoder import ContextConfig
from behavior_priors.priors.product_of_gaussians import make_product_of_gaussians
from behavior_priors.types import ActionSpec, ArraySpec, Context, TaskBelief, Transition

SPEC, ACTION = {"place": ArraySpec((1,))}, ActionSpec(1)
CONTEXT = ContextConfig(latent_size=2, widths=(32, 32))
SAC = ValueSACConfig(
    policy_widths=(32, 32),
    critic_widths=(32, 32),
    policy_learning_rate=3e-3,
    critic_learning_rate=3e-3,
    initial_temperature=0.05,
    fixed_temperature=True,
)
GOALS = jnp.array([-0.6, 0.6, 0.0])


def make(
    config: PearlConfig | None = None, sac: SACConfig = SAC, context: ContextConfig = CONTEXT
) -> MetaLearner:
    encoder = make_product_of_gaussians(context, SPEC, ACTION)
    config = config or PearlConfig(encoder_learning_rate=3e-3)
    return make_pearl(config, sac, encoder, SPEC, ACTION)


def experience(key: jax.Array, count: int) -> Transition:
    """Tasks of a single step `[3, count]`: the reward is least far from the task's own action."""
    action = jax.random.uniform(key, (3, count, 1), minval=-1.0)
    place = jnp.zeros((3, count, 1))
    return Transition(
        observation={"place": place},
        action=action,
        reward=-2.0 * jnp.square(action[..., 0] - GOALS[:, None]),
        terminated=jnp.ones((3, count), bool),
        truncated=jnp.zeros((3, count), bool),
        next_observation={"place": place},
        valid=jnp.ones((3, count), bool),
    )


def as_context(seen: Transition) -> Context:
    return Context(
        seen.observation, seen.action, seen.reward, seen.next_observation, jnp.ones_like(seen.valid)
    )


def train(learner: MetaLearner, updates: int, seed: int = 0) -> tuple[PearlState, Any]:
    def step(state: Any, key: jax.Array) -> tuple[Any, Any]:
        context_key, batch_key = jax.random.split(key)
        context = as_context(experience(context_key, 16))
        return learner.update(state, context, experience(batch_key, 32))

    keys = jax.random.split(jax.random.key(seed + 1), updates)
    run = jax.jit(lambda state: jax.lax.scan(step, state, keys))
    state, metrics = run(learner.init(jax.random.key(seed)))
    return state, jax.tree.map(lambda x: x[-1], metrics)


def same(ours: Any, theirs: Any) -> bool:
    return all(
        bool((a == b).all())
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    )


def test_it_does_in_each_task_what_that_task_pays_for() -> None:
    learner = make()
    state, metrics = train(learner, 600)
    context = as_context(experience(jax.random.key(99), 16))
    belief = learner.infer(state.policy, context)
    observation = {"place": jnp.zeros((3, 1)), DESCRIPTION: belief.mean}
    action = learner.act(state.policy, observation, jax.random.key(0), explore=False).action
    np.testing.assert_allclose(action[:, 0], GOALS, atol=0.15)
    assert float(metrics["belief_divergence"]) > 0.5

    # without having seen anything it can only do the same in all of them
    blank = context._replace(counts=jnp.zeros_like(context.counts))
    nothing = learner.infer(state.policy, blank)
    np.testing.assert_array_equal(nothing.mean, np.zeros((3, 2)))


def test_one_description_a_task_for_all_of_its_transitions() -> None:
    batch = experience(jax.random.key(0), 4)
    joined = join(batch, jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert joined.reward.shape == (12,)
    np.testing.assert_array_equal(joined.reward, batch.reward.reshape(12))
    for observation in (joined.observation, joined.next_observation):
        np.testing.assert_array_equal(observation[DESCRIPTION][:, 0], np.repeat([1, 3, 5], 4))
        assert observation["place"].shape == (12, 1)


def test_the_encoder_learns_from_the_critics_and_not_from_the_policy() -> None:
    """Another step size of the policy leaves the first two encoders alone, and the actor not."""
    usual, faster = (
        train(make(sac=dataclasses.replace(SAC, policy_learning_rate=rate)), 1)[0]
        for rate in (3e-3, 3e-2)
    )
    assert same(usual.policy["encoder"], faster.policy["encoder"])
    assert not same(usual.policy["actor"], faster.policy["actor"])
    # the critics' loss reaches it without any divergence
    free = make(PearlConfig(divergence_weight=0.0))
    start = free.init(jax.random.key(0))
    assert not same(train(free, 1)[0].policy["encoder"], start.policy["encoder"])


def test_the_encoder_does_not_learn_from_the_network_of_values() -> None:
    """Another such network, whose loss is another one, leaves the first encoder alone."""
    learner = make(sac=dataclasses.replace(SAC, value_network=True))
    state = learner.init(jax.random.key(0))
    value = jax.tree.map(lambda x: x + 1.0, state.rest.value)
    other = dataclasses.replace(state, rest=dataclasses.replace(state.rest, value=value))
    seen = experience(jax.random.key(1), 8)
    update = jax.jit(learner.update)
    (ours, metrics), (theirs, other_metrics) = (
        update(s, as_context(seen), seen) for s in (state, other)
    )
    assert float(metrics["value_loss"]) != float(other_metrics["value_loss"])
    assert same(ours.policy["encoder"], theirs.policy["encoder"])
    assert not same(ours.policy["encoder"], state.policy["encoder"])


def test_the_encoders_steps_shrink_with_the_others() -> None:
    def second_step(sac: SACConfig) -> Any:
        one, two = (train(make(sac=sac), updates)[0].policy["encoder"] for updates in (1, 2))
        return jax.tree.map(lambda a, b: b - a, one, two)

    # nothing that the second step is made from has moved, but for the parameters themselves
    whole = second_step(SAC)
    tenth = second_step(dataclasses.replace(SAC, decay_updates=1))
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(whole)) > 1e-3
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(b, 0.1 * a, rtol=1e-2, atol=1e-6), whole, tenth
    )


def test_the_divergence_pulls_beliefs_to_the_prior() -> None:
    weights = (0.0, 1e-1, 1e3)
    divergences = [
        float(train(make(PearlConfig(weight, 3e-3)), 200)[1]["belief_divergence"])
        for weight in weights
    ]
    assert divergences[0] > divergences[1] > divergences[2]
    # factors that say nothing cannot take back that there are sixteen of them, but nearly
    assert divergences[2] < 0.1


def test_the_divergence_counts_as_its_weight_says_a_mean_over_tasks() -> None:
    weight, seen = 2.0, experience(jax.random.key(1), 8)
    context = as_context(seen)

    def gradient(weight: float) -> tuple[Any, PearlState, Any]:
        """Of the first update, of which Adam's first moment is a tenth."""
        learner = make(PearlConfig(weight))
        state = learner.init(jax.random.key(0))
        after, metrics = jax.jit(learner.update)(state, context, seen)
        first: Any = after.encoder_optimizer
        return jax.tree.map(lambda x: 10.0 * x, first[0].mu), state, metrics

    def mean_divergence(params: Any) -> jax.Array:
        belief = make().infer({"encoder": params}, context)
        assert belief.mean.shape == (3, 2)
        nats = 0.5 * (belief.variance + belief.mean**2 - 1.0 - jnp.log(belief.variance))
        return nats.sum() / 3

    (ours, state, metrics), (without, _, _) = gradient(weight), gradient(0.0)
    value, slope = jax.value_and_grad(mean_divergence)(state.policy["encoder"])
    np.testing.assert_allclose(metrics["belief_divergence"], value, rtol=1e-5)
    jax.tree.map(
        lambda a, b, c: np.testing.assert_allclose(a - b, weight * c, rtol=1e-3, atol=1e-4),
        ours,
        without,
        slope,
    )
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(slope)) > 0.1


def test_a_description_without_doubt_is_the_mean_and_learns() -> None:
    learner = make(context=dataclasses.replace(CONTEXT, deterministic=True))
    state, metrics = train(learner, 20)
    assert float(metrics["belief_divergence"]) == 0.0
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(state.policy))
    start = learner.init(jax.random.key(0))
    assert not same(state.policy["encoder"], start.policy["encoder"])
    belief = TaskBelief(jnp.arange(4.0), jnp.zeros(4))
    np.testing.assert_array_equal(describe(belief, jax.random.key(0)), np.arange(4.0))


def test_descriptions_have_the_belief_for_their_law() -> None:
    belief = TaskBelief(jnp.full((20_000, 1), 3.0), jnp.full((20_000, 1), 0.25))
    drawn = np.asarray(describe(belief, jax.random.key(0)))
    assert drawn.mean() == pytest.approx(3.0, abs=0.02)
    assert drawn.std() == pytest.approx(0.5, abs=0.01)


def test_targets_move_after_every_period_and_may_be_of_a_network_of_values() -> None:
    sac = dataclasses.replace(SAC, target_period=2, target_rate=1.0, value_network=True)
    learner = make(sac=sac)
    first, second = (train(learner, updates)[0].rest for updates in (1, 2))
    assert same(first.target_critic, learner.init(jax.random.key(0)).rest.value)
    assert not same(first.value, first.target_critic)
    assert same(second.value, second.target_critic)


def test_states_can_be_donated() -> None:
    learner = make()
    update = jax.jit(learner.update, donate_argnums=0)
    seen = experience(jax.random.key(0), 8)
    state = learner.init(jax.random.key(0))
    for _ in range(3):
        state, _ = update(state, as_context(seen), seen)
    assert int(state.step) == 3


def test_the_authors_weight_of_the_divergence() -> None:
    """0.1 summed over sixteen tasks beside errors that are not halved: 0.8 in means and halves."""
    assert averaged_weight(0.1, 16) == pytest.approx(0.8)


def test_names_of_observations_are_the_environments() -> None:
    sac = dataclasses.replace(SAC, policy_observation=("place",), critic_observation=("place",))
    state, _ = train(make(sac=sac), 2)
    first = state.policy["actor"]["params"]["MLP_0"]["Dense_0"]["kernel"]
    assert first.shape == (1 + 2, 32)
    with pytest.raises(UserError, match="plaice"):
        make(sac=dataclasses.replace(SAC, policy_observation=("plaice",)))
    with pytest.raises(UserError, match="divergence_weight=-1 should be at least 0"):
        make(PearlConfig(divergence_weight=-1))
