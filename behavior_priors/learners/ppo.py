"""Proximal policy optimisation: an on-policy learner, with the policy of soft actor-critic.

Schulman et al. 2017, "Proximal Policy Optimization Algorithms", arXiv:1707.06347, with the clipped
surrogate, advantages by Schulman et al. 2016, arXiv:1506.02438, and networks that share nothing.
The policy's network, and so its parameters, are those of `make_sac` and of a cloned Gaussian prior:
it can start from either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from behavior_priors import distributions
from behavior_priors.errors import UserError
from behavior_priors.learner import Choice, OnPolicyLearner
from behavior_priors.learners.kind import Guidance, LearnerKind
from behavior_priors.learners.parts import descend, make_policy, resolve_names
from behavior_priors.learners.ppo_config import PPOConfig, check_ppo_config
from behavior_priors.networks import MLP
from behavior_priors.objectives import policy_gradient
from behavior_priors.torso import Sight
from behavior_priors.types import (
    ActionSpec,
    Array,
    Metrics,
    Observation,
    ObservationSpec,
    Params,
    PRNGKey,
    Transition,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PPOState:
    """All that proximal policy optimisation remembers between two updates."""

    policy: Params
    value: Params
    policy_optimizer: optax.OptState
    value_optimizer: optax.OptState
    key: PRNGKey
    step: Array


class Draw(NamedTuple):
    """What the policy's Gaussian gave, before any squashing.

    Ratios of densities are the same before the squashing as after it, because its slope cancels:
    `pi(a) / pi_old(a) = N(x) / N_old(x)` for `a = bound * tanh(x)`. With `x` remembered the tanh is
    never undone, which rounding prevents close to the bound.

    Attributes:
      sample: `[..., size]`.
      log_prob: `[...]` log-density of the sample under the Gaussian, in nats.
    """

    sample: Array
    log_prob: Array


class Batch(NamedTuple):
    """What one gradient step learns from, `[batch, ...]` each."""

    observation: Observation
    draw: Draw
    advantage: Array
    target: Array
    valid: Array


Carry = tuple[PPOState, Array]
"""A state within an update, and whether its policy is still moving, `[]` bool."""


def make_ppo(
    config: PPOConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    initial_policy: Params | None = None,
) -> OnPolicyLearner:
    """Proximal policy optimisation.

    An update computes advantages and the value's targets once, under the value that it begins with,
    then goes through the experience `epochs` times, each time in another order. A transition that
    diverged is not learned from.

    Args:
      config: hyper-parameters.
      observation_spec: of the observations in experience.
      action_spec: without a bound the policy is a Gaussian, with a bound `b` it is
        `b * tanh(Gaussian)`.
      initial_policy: parameters to start the policy from, such as behavioural cloning's.

    Returns:
      The learner. Its notes are a `Draw`; its state's `step` counts gradient steps. Its metrics,
      means over an update's gradient steps, are `policy_loss` (without the entropy), `value_loss`,
      `entropy` (of the policy, in nats), `policy_std` (of the Gaussian, before any squashing),
      `policy_change` (the divergence from the policy that acted, in nats), `clipped` (share of
      actions whose ratio is beyond the clip), `policy_steps` (share of gradient steps that the
      policy took) and `value_mean` (of the value that the update began with).

    Raises:
      UserError: the config does not make sense, names an observation that does not exist, or
        describes another network than the one that `initial_policy` belongs to.
    """
    check_ppo_config(config)
    value_names = resolve_names(config.value_observation, observation_spec, "value_observation")
    sight = Sight(observation_spec, value_names)
    size, bound = action_spec

    init_policy, mean_and_log_std = make_policy(config, observation_spec, size, initial_policy)
    # a value that starts at zero adds no noise of its own to the first advantages
    value_network = MLP(
        (*config.value_widths, 1), final_init=jax.nn.initializers.zeros, sight=sight
    )
    policy_adam = _adam(config.policy_learning_rate, config.gradient_clip)
    value_adam = _adam(config.value_learning_rate, config.gradient_clip)

    may_wait = config.policy_delay > 0 or config.change_limit is not None

    apply_value: Callable[..., Any] = value_network.apply

    def values(value: Params, observation: Observation) -> Array:
        return apply_value(value, observation).squeeze(axis=-1)

    def init(key: PRNGKey) -> PPOState:
        state_key, policy_key, value_key = jax.random.split(key, 3)
        policy = init_policy(policy_key)
        value = value_network.init(value_key, sight.blank())
        return PPOState(
            policy=policy,
            value=value,
            policy_optimizer=policy_adam.init(policy),
            value_optimizer=value_adam.init(value),
            key=state_key,
            step=jnp.zeros((), jnp.int32),
        )

    def act(policy: Params, observation: Observation, key: PRNGKey, *, explore: bool) -> Choice:
        mean, log_std = mean_and_log_std(policy, observation)
        if not explore:
            return Choice(distributions.policy_mode(mean, bound))
        gaussian = distributions.policy_distribution(mean, log_std, None)
        sample, log_prob = gaussian.sample_and_log_prob(seed=key)
        return Choice(distributions.policy_mode(sample, bound), Draw(sample, log_prob))

    def prepare(state: PPOState, transitions: Transition) -> tuple[Batch, Metrics]:
        """The round as one batch `[time * envs]`."""
        value_tm1 = values(state.value, transitions.observation)
        advantage = policy_gradient.generalized_advantage(
            r_t=config.reward_scale * transitions.reward,
            v_tm1=value_tm1,
            v_t=values(state.value, transitions.next_observation),
            terminated_t=transitions.terminated,
            truncated_t=transitions.truncated,
            valid_t=transitions.valid,
            discount=config.discount,
            trace=config.gae_lambda,
        )
        target, valid = advantage + value_tm1, transitions.valid
        draws: Draw = transitions.notes
        batch = Batch(transitions.observation, draws, advantage, target, valid)
        batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
        value_mean = policy_gradient.masked_mean(value_tm1.reshape(-1), batch.valid)
        if config.standardize_advantages:
            scaled = policy_gradient.standardize(batch.advantage, batch.valid)
            batch = batch._replace(advantage=scaled)
        return batch, {"value_mean": value_mean}

    def policy_loss(params: Params, batch: Batch, key: PRNGKey) -> tuple[Array, Metrics]:
        mean, log_std = mean_and_log_std(params, batch.observation)
        gaussian = distributions.policy_distribution(mean, log_std, None)
        log_prob, old_log_prob = gaussian.log_prob(batch.draw.sample), batch.draw.log_prob
        loss = policy_gradient.clipped_surrogate_loss(
            log_prob, old_log_prob, batch.advantage, batch.valid, config.clip
        )
        if bound is None:
            entropies = gaussian.entropy()
        else:
            # a squashed Gaussian's has no closed form: one sample of each, differentiably
            squashed = distributions.policy_distribution(mean, log_std, bound)
            entropies = -squashed.sample_and_log_prob(seed=key)[1]
        entropy = policy_gradient.masked_mean(entropies, batch.valid)
        is_beyond = jnp.abs(jnp.exp(log_prob - old_log_prob) - 1.0) > config.clip
        metrics = {
            "policy_loss": loss,
            "entropy": entropy,
            "policy_std": jnp.exp(log_std).mean(),
            "policy_change": policy_gradient.policy_change(log_prob, old_log_prob, batch.valid),
            "clipped": policy_gradient.masked_mean(is_beyond.astype(jnp.float32), batch.valid),
        }
        return loss - config.entropy_weight * entropy, metrics

    def value_loss(params: Params, batch: Batch) -> Array:
        v_tm1 = values(params, batch.observation)
        return policy_gradient.value_loss(v_tm1, batch.target, batch.valid)

    def improve(carry: Carry, batch: Batch) -> tuple[Carry, Metrics]:
        """One gradient step of each network, of the policy only while it is moving."""
        state, is_moving = carry
        key, entropy_key = jax.random.split(state.key)
        gradient, metrics = jax.grad(policy_loss, has_aux=True)(state.policy, batch, entropy_key)
        if config.change_limit is not None:
            is_moving &= metrics["policy_change"] <= config.change_limit
        before = (state.policy, state.policy_optimizer)
        policy = descend(policy_adam, gradient, state.policy_optimizer, state.policy)
        if may_wait:
            policy = jax.tree.map(lambda new, old: jnp.where(is_moving, new, old), policy, before)
        loss, gradient = jax.value_and_grad(value_loss)(state.value, batch)
        value = descend(value_adam, gradient, state.value_optimizer, state.value)
        state = PPOState(
            policy=policy[0],
            value=value[0],
            policy_optimizer=policy[1],
            value_optimizer=value[1],
            key=key,
            step=state.step + 1,
        )
        steps = is_moving.astype(jnp.float32)
        return (state, is_moving), {**metrics, "value_loss": loss, "policy_steps": steps}

    def update(state: PPOState, transitions: Transition) -> tuple[PPOState, Metrics]:
        batch, round_metrics = prepare(state, transitions)
        rows = batch.valid.size
        if rows % config.minibatches:
            raise UserError(
                f"minibatches must divide the {rows} transitions of a round, "
                f"got {config.minibatches}"
            )

        def improve_on_all(carry: Carry, _: None) -> tuple[Carry, Metrics]:
            state, is_moving = carry
            key, order_key = jax.random.split(state.key)
            order = jax.random.permutation(order_key, rows).reshape(config.minibatches, -1)
            return jax.lax.scan(
                lambda c, chosen: improve(c, jax.tree.map(lambda x: x[chosen], batch)),
                (dataclasses.replace(state, key=key), is_moving),
                order,
            )

        begun = (state, state.step >= config.policy_delay)
        (state, _), metrics = jax.lax.scan(improve_on_all, begun, length=config.epochs)
        return state, {**jax.tree.map(lambda x: x.mean(), metrics), **round_metrics}

    return OnPolicyLearner(init, update, act, config.epochs, config.minibatches)


def _adam(learning_rate: float, largest_norm: float | None) -> optax.GradientTransformation:
    adam = optax.adam(learning_rate)
    if largest_norm is None:
        return adam
    return optax.chain(optax.clip_by_global_norm(largest_norm), adam)


def _make(
    config: PPOConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    guidance: Guidance,
) -> OnPolicyLearner:
    return make_ppo(config, observation_spec, action_spec, guidance.start)


KIND = LearnerKind(PPOConfig(), _make, takes=("start",), on_policy=True)
