"""Soft actor-critic with a network of states' values, as its first version had it.

Haarnoja et al. 2018a, "Soft Actor-Critic: Off-Policy Maximum Entropy Deep Reinforcement Learning
with a Stochastic Actor", arXiv:1801.01290. The network learns what the critics and the policy say
of a state; the critics' targets come from a slow copy of it, which takes the place of slow critics.
PEARL's public code is made on this version.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from behavior_priors.learners.parts import descend, discounts, follow, make_adam, resolve_names
from behavior_priors.learners.sac import Penalty, SACState, SACSteps, make_steps
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.networks import Critic
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
class ValueSACConfig(SACConfig):
    """Hyper-parameters of soft actor-critic in either version.

    Attributes:
      value_network: take targets from a network of states' values, of the critics' widths, that
        learns what the critics and the policy say, as the first soft actor-critic did (Haarnoja et
        al. 2018a); the target critic is then a target of that.
    """

    value_network: bool = False


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class ValueSACState(SACState):
    """That of soft actor-critic, where `target_critic` is the target of the network of values."""

    value: Params
    value_optimizer: optax.OptState


def make_steps_of(
    config: SACConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    penalty: Penalty,
    initial_policy: Params | None = None,
) -> SACSteps:
    """The steps of the version that a config asks for; see `sac.make_steps`.

    Raises:
      UserError: as there.
    """
    steps = make_steps(config, observation_spec, action_spec, penalty, initial_policy)
    if isinstance(config, ValueSACConfig) and config.value_network:
        return with_value_network(steps, config, observation_spec)
    return steps


def with_value_network(
    steps: SACSteps, config: SACConfig, observation_spec: ObservationSpec
) -> SACSteps:
    """The steps with a network of values between critics and targets."""
    names = resolve_names(config.critic_observation, observation_spec, "critic_observation")
    sight = Sight(observation_spec, names)
    network: Any = Critic(config.critic_widths, config.critic_layer_norm, sight)
    adam = make_adam(config.critic_learning_rate, config.decay_updates)

    def values(value: Params, observation: Observation) -> Array:
        first = observation[names[0]]
        batch = first.shape[: first.ndim - len(observation_spec[names[0]].shape)]
        return network.apply(value, observation, jnp.zeros((*batch, 0)))

    def init(key: PRNGKey) -> ValueSACState:
        keys = jax.random.split(key, 4)
        value = network.init(keys[3], sight.blank(), jnp.zeros(0))
        rest = vars(steps.begin(keys)) | {"target_critic": jax.tree.map(jnp.copy, value)}
        return ValueSACState(**rest, value=value, value_optimizer=adam.init(value))

    def target(state: ValueSACState, batch: Transition, _: PRNGKey) -> Array:
        """Equation 8 of Haarnoja et al. 2018a."""
        next_value = values(state.target_critic, batch.next_observation)
        return config.reward_scale * batch.reward + discounts(config, batch) * next_value

    def step_value(
        state: ValueSACState, batch: Transition, key: PRNGKey
    ) -> tuple[ValueSACState, Metrics]:
        """Equation 5 of Haarnoja et al. 2018a, under the state's critics."""
        target = steps.state_value(state, batch.observation, key)

        def loss_fn(value: Params) -> Array:
            return td.critic_loss(values(value, batch.observation)[None], target)

        loss, gradient = jax.value_and_grad(loss_fn)(state.value)
        value, optimizer = descend(adam, gradient, state.value_optimizer, state.value)
        state = dataclasses.replace(state, value=value, value_optimizer=optimizer)
        return state, {"value_loss": loss}

    def step_target(state: ValueSACState) -> ValueSACState:
        target_critic = follow(config, state.step, state.value, state.target_critic)
        return dataclasses.replace(state, target_critic=target_critic)

    return steps._replace(init=init, target=target, step_value=step_value, step_target=step_target)
