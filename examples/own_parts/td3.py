"""A learner of one's own: twin delayed deep deterministic policy gradient.

Fujimoto et al. 2018, arXiv:1802.09477: a deterministic policy with noise on its actions, the lower
of two critics, noise on the target's action, and a policy that moves every other update.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from behavior_priors.config.ranges import (
    Count,
    LearningRate,
    Limit,
    PositiveShare,
    Share,
    Weight,
    Width,
)
from behavior_priors.errors import UserError
from behavior_priors.learner import Choice, Learner
from behavior_priors.learners.kind import Guidance, LearnerKind
from behavior_priors.networks import MLP, Critics
from behavior_priors.objectives import td
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


@dataclasses.dataclass(frozen=True)
class TD3Config:
    """Hyper-parameters; noises are shares of the action's bound.

    Attributes:
      widths: hidden layers of the policy and of each critic.
      learning_rate: Adam's step size for both.
      discount: weight of the next step's value.
      target_rate: share of policy and critics that moves into their targets.
      policy_period: updates between two of the policy's.
      exploration_noise: standard deviation of the noise on actions.
      target_noise: standard deviation of the noise on the target's action.
      target_noise_limit: its largest magnitude.
    """

    widths: tuple[Width, ...] = (256, 256)
    learning_rate: LearningRate = 3e-4
    discount: Share = 0.99
    target_rate: PositiveShare = 0.005
    policy_period: Count = 2
    exploration_noise: Weight = 0.5
    target_noise: Weight = 0.2
    target_noise_limit: Limit = 0.5


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TD3State:
    """All that is remembered between two updates."""

    policy: Params
    critic: Params
    target_policy: Params
    target_critic: Params
    policy_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    key: PRNGKey
    step: Array


def make_td3(
    config: TD3Config, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> Learner:
    """Twin delayed deep deterministic policy gradient.

    Args:
      config: hyper-parameters.
      observation_spec: of the observations in batches; policy and critics see all of them.
      action_spec: bounded.

    Raises:
      UserError: actions are unbounded, so that noise has no scale.
    """
    size, bound = action_spec
    if bound is None:
        raise UserError("td3 needs bounded actions; give the latents a bound")
    sight = Sight(observation_spec, tuple(observation_spec))
    policy_network: Any = MLP((*config.widths, size), final_init=nn.initializers.zeros, sight=sight)
    critic_network: Any = Critics(2, config.widths, True, sight)
    adam = optax.adam(config.learning_rate)

    def choose(policy: Params, observation: Observation) -> Array:
        return bound * jnp.tanh(policy_network.apply(policy, observation))

    def init(key: PRNGKey) -> TD3State:
        state_key, policy_key, critic_key = jax.random.split(key, 3)
        policy = policy_network.init(policy_key, sight.blank())
        critic = critic_network.init(critic_key, sight.blank(), jnp.zeros(size))
        return TD3State(
            policy=policy,
            critic=critic,
            target_policy=jax.tree.map(jnp.copy, policy),
            target_critic=jax.tree.map(jnp.copy, critic),
            policy_optimizer=adam.init(policy),
            critic_optimizer=adam.init(critic),
            key=state_key,
            step=jnp.zeros((), jnp.int32),
        )

    def critic_loss(critic: Params, batch: Transition, target: Array) -> tuple[Array, Array]:
        q = critic_network.apply(critic, batch.observation, batch.action)
        return td.critic_loss(q, target), q.mean()

    def policy_loss(policy: Params, critic: Params, batch: Transition) -> Array:
        action = choose(policy, batch.observation)
        return -critic_network.apply(critic, batch.observation, action)[0].mean()

    def update(state: TD3State, batch: Transition) -> tuple[TD3State, Metrics]:
        key, noise_key = jax.random.split(state.key)
        limit = config.target_noise_limit * bound
        noise = config.target_noise * bound * jax.random.normal(noise_key, batch.action.shape)
        s_t = batch.next_observation
        a_t = choose(state.target_policy, s_t) + jnp.clip(noise, -limit, limit)
        q_t = critic_network.apply(state.target_critic, s_t, jnp.clip(a_t, -bound, bound))
        # only the task's end makes the future worth nothing, not the recording's
        discount = config.discount * (1.0 - batch.terminated.astype(jnp.float32))
        target = batch.reward + discount * q_t.min(axis=0)

        (loss, q_mean), gradient = jax.value_and_grad(critic_loss, has_aux=True)(
            state.critic, batch, target
        )
        step, critic_optimizer = adam.update(gradient, state.critic_optimizer)
        critic = optax.apply_updates(state.critic, step)

        def move(policy: Params, optimizer: optax.OptState) -> tuple[Array, Params, Any]:
            loss, gradient = jax.value_and_grad(policy_loss)(policy, critic, batch)
            step, optimizer = adam.update(gradient, optimizer)
            return loss, optax.apply_updates(policy, step), optimizer

        def rest(policy: Params, optimizer: optax.OptState) -> tuple[Array, Params, Any]:
            return policy_loss(policy, critic, batch), policy, optimizer

        is_due = (state.step + 1) % config.policy_period == 0
        policy_and_optimizer = (state.policy, state.policy_optimizer)
        actor_loss, policy, policy_optimizer = jax.lax.cond(
            is_due, move, rest, *policy_and_optimizer
        )
        rate = jnp.where(is_due, config.target_rate, 0.0)
        state = TD3State(
            policy=policy,
            critic=critic,
            target_policy=optax.incremental_update(policy, state.target_policy, rate),
            target_critic=optax.incremental_update(critic, state.target_critic, rate),
            policy_optimizer=policy_optimizer,
            critic_optimizer=critic_optimizer,
            key=key,
            step=state.step + 1,
        )
        return state, {"critic_loss": loss, "policy_loss": actor_loss, "q_mean": q_mean}

    def act(policy: Params, observation: Observation, key: PRNGKey, *, explore: bool) -> Choice:
        action = choose(policy, observation)
        if explore:
            noise = config.exploration_noise * bound * jax.random.normal(key, action.shape)
            action = jnp.clip(action + noise, -bound, bound)
        return Choice(action)

    return Learner(init, update, act)


def _make(
    config: TD3Config, observation_spec: ObservationSpec, action_spec: ActionSpec, _: Guidance
) -> Learner:
    return make_td3(config, observation_spec, action_spec)


td3 = LearnerKind(TD3Config(), _make)
"""`--learner=examples.own_parts.td3:td3`."""
