"""An actor and twin critics with a penalty on the actor's choices, step by step.

Haarnoja et al. 2018b, "Soft Actor-Critic Algorithms and Applications", arXiv:1812.05905. The steps
that make an update are functions of their own, for learners that have something to do between them:
`regularized` makes them one after the other, `pearl` lets the critics' loss reach an encoder.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from behavior_priors import distributions
from behavior_priors.image_networks import image_slots
from behavior_priors.learner import ActFn
from behavior_priors.learners.parts import descend, make_adam, make_policy, resolve_names
from behavior_priors.learners.sac_config import SACConfig, check_sac_config
from behavior_priors.networks import Critic, Critics, flatten_observation, observation_size
from behavior_priors.objectives import td
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
class SACState:
    """All that soft actor-critic remembers between two updates.

    With a network of values `target_critic` is the target of that; without one there is no `value`.
    """

    policy: Params
    critic: Params
    value: Params
    target_critic: Params
    log_temperature: Array
    policy_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    value_optimizer: optax.OptState
    temperature_optimizer: optax.OptState
    key: PRNGKey
    step: Array


class Penalty(NamedTuple):
    """What a policy pays for its choices.

    Attributes:
      draw: `(policy's distribution, observation, key) -> (action, penalty [...])`, in nats and
        differentiable; the key is consumed.
      target: where the temperature rests, in nats.
      metrics: of the mean penalty of a batch.
    """

    draw: Callable[[Any, Observation, PRNGKey], tuple[Array, Array]]
    target: float
    metrics: Callable[[Array], Metrics]


class ActorCritic(NamedTuple):
    """The steps of an update, each a function of the whole state.

    Attributes:
      init: makes a state.
      target: `(state, batch, key) -> [batch]`, what the critics should say; the key is consumed.
      critic_loss: `(critic's parameters, batch, target) -> (loss, metrics)`.
      step_critic: `(state, gradient) -> state`.
      step_value: `(state, batch, key) -> (state, metrics)`, of the network of values, if there is
        one, under the state's critics; the key is consumed.
      step_policy: `(state, batch, key) -> (state, penalty paid [batch], metrics)`, under the
        state's critics; the key is consumed.
      step_temperature: `(state, penalty paid) -> (state, metrics)`.
      step_target: moves the target critics.
      act: chooses an action.
    """

    init: Callable[[PRNGKey], SACState]
    target: Callable[[SACState, Transition, PRNGKey], Array]
    critic_loss: Callable[[Params, Transition, Array], tuple[Array, Metrics]]
    step_critic: Callable[[SACState, Params], SACState]
    step_value: Callable[[SACState, Transition, PRNGKey], tuple[SACState, Metrics]]
    step_policy: Callable[[SACState, Transition, PRNGKey], tuple[SACState, Array, Metrics]]
    step_temperature: Callable[[SACState, Array], tuple[SACState, Metrics]]
    step_target: Callable[[SACState], SACState]
    act: ActFn


def make_actor_critic(
    config: SACConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    penalty: Penalty,
    initial_policy: Params | None = None,
) -> ActorCritic:
    """The steps of an actor and its critics, with a penalty on the policy in both.

    Args:
      config: hyper-parameters; the target entropy is not among those that are read.
      observation_spec: of the observations in batches.
      action_spec: without a bound the policy is a Gaussian, with a bound `b` it is
        `b * tanh(Gaussian)`.
      penalty: what the policy pays.
      initial_policy: parameters to start the policy from, such as behavioural cloning's.

    Raises:
      UserError: the config does not make sense, names an observation that does not exist, or
        describes another network than the one that `initial_policy` belongs to.
    """
    check_sac_config(config)
    critic_names = resolve_names(config.critic_observation, observation_spec, "critic_observation")
    size, bound = action_spec

    init_policy, mean_and_log_std = make_policy(config, observation_spec, size, initial_policy)
    critic_network = Critics(
        config.num_critics,
        config.critic_widths,
        config.critic_layer_norm,
        image_slots(observation_spec, critic_names),
    )
    value_network = Critic(
        config.critic_widths, config.critic_layer_norm, image_slots(observation_spec, critic_names)
    )
    policy_adam, critic_adam, temperature_adam = (
        make_adam(rate, config.decay_updates)
        for rate in (
            config.policy_learning_rate,
            config.critic_learning_rate,
            config.temperature_learning_rate,
        )
    )

    apply_critic: Callable[..., Any] = critic_network.apply
    apply_value: Callable[..., Any] = value_network.apply

    def q_values(critic: Params, observation: Observation, action: Array) -> Array:
        x = flatten_observation(observation, observation_spec, critic_names)
        return apply_critic(critic, x, action)

    def values(value: Params, observation: Observation) -> Array:
        x = flatten_observation(observation, observation_spec, critic_names)
        return apply_value(value, x, jnp.zeros((*x.shape[:-1], 0)))

    def init(key: PRNGKey) -> SACState:
        state_key, policy_key, critic_key, value_key = jax.random.split(key, 4)
        critic_input = jnp.zeros(observation_size(observation_spec, critic_names))
        policy = init_policy(policy_key)
        critic = critic_network.init(critic_key, critic_input, jnp.zeros(size))
        value: Params = ()
        if config.value_network:
            value = value_network.init(value_key, critic_input, jnp.zeros(0))
        log_temperature = jnp.asarray(math.log(config.initial_temperature), jnp.float32)
        return SACState(
            policy=policy,
            critic=critic,
            value=value,
            target_critic=jax.tree.map(jnp.copy, value or critic),
            log_temperature=log_temperature,
            policy_optimizer=policy_adam.init(policy),
            critic_optimizer=critic_adam.init(critic),
            value_optimizer=critic_adam.init(value),
            temperature_optimizer=temperature_adam.init(log_temperature),
            key=state_key,
            step=jnp.zeros((), jnp.int32),
        )

    def target(state: SACState, batch: Transition, key: PRNGKey) -> Array:
        # A time limit or a diverged simulation ends the recording, not the task, whose rewards
        # would have gone on: only termination makes the future worth nothing.
        discount = config.discount * (1.0 - batch.terminated.astype(jnp.float32))
        reward = config.reward_scale * batch.reward
        if config.value_network:
            return reward + discount * values(state.target_critic, batch.next_observation)
        mean, log_std = mean_and_log_std(state.policy, batch.next_observation)
        policy = distributions.policy_distribution(mean, log_std, bound)
        next_action, paid = penalty.draw(policy, batch.next_observation, key)
        next_q = q_values(state.target_critic, batch.next_observation, next_action)
        return td.soft_bellman_target(
            r_t=reward,
            discount_t=discount,
            q_t=next_q,
            penalty_t=paid,
            temperature=jnp.exp(state.log_temperature),
        )

    def critic_loss(critic: Params, batch: Transition, target: Array) -> tuple[Array, Metrics]:
        q = q_values(critic, batch.observation, batch.action)
        loss = td.critic_loss(q, target)
        return loss, {"critic_loss": loss, "q_mean": q.mean()}

    def step_critic(state: SACState, gradient: Params) -> SACState:
        critic, optimizer = descend(critic_adam, gradient, state.critic_optimizer, state.critic)
        return dataclasses.replace(state, critic=critic, critic_optimizer=optimizer)

    def step_value(state: SACState, batch: Transition, key: PRNGKey) -> tuple[SACState, Metrics]:
        if not config.value_network:
            return state, {}
        mean, log_std = mean_and_log_std(state.policy, batch.observation)
        policy = distributions.policy_distribution(mean, log_std, bound)
        action, paid = penalty.draw(policy, batch.observation, key)
        q = q_values(state.critic, batch.observation, action)
        target = q.min(axis=0) - jnp.exp(state.log_temperature) * paid

        def loss_fn(value: Params) -> Array:
            return td.critic_loss(values(value, batch.observation)[None], target)

        loss, gradient = jax.value_and_grad(loss_fn)(state.value)
        value, optimizer = descend(critic_adam, gradient, state.value_optimizer, state.value)
        state = dataclasses.replace(state, value=value, value_optimizer=optimizer)
        return state, {"value_loss": loss}

    def step_policy(
        state: SACState, batch: Transition, key: PRNGKey
    ) -> tuple[SACState, Array, Metrics]:
        def loss_fn(params: Params) -> tuple[Array, tuple[Array, Array]]:
            mean, log_std = mean_and_log_std(params, batch.observation)
            policy = distributions.policy_distribution(mean, log_std, bound)
            action, paid = penalty.draw(policy, batch.observation, key)
            q = q_values(state.critic, batch.observation, action)
            loss = td.soft_policy_loss(q, paid, jnp.exp(state.log_temperature))
            if config.policy_decay:
                size = jnp.square(mean).mean() + jnp.square(log_std).mean()
                loss = loss + config.policy_decay * size
            return loss, (paid, jnp.exp(log_std).mean())

        (loss, (paid, std)), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state.policy)
        policy, optimizer = descend(policy_adam, gradient, state.policy_optimizer, state.policy)
        state = dataclasses.replace(state, policy=policy, policy_optimizer=optimizer)
        metrics = {"policy_loss": loss, "policy_std": std, **penalty.metrics(paid.mean())}
        return state, paid, metrics

    def step_temperature(state: SACState, paid: Array) -> tuple[SACState, Metrics]:
        loss, gradient = jax.value_and_grad(td.temperature_loss)(
            state.log_temperature, paid, penalty.target
        )
        metrics = {"temperature_loss": loss, "temperature": jnp.exp(state.log_temperature)}
        if config.fixed_temperature:
            return state, metrics
        log_temperature, optimizer = descend(
            temperature_adam, gradient, state.temperature_optimizer, state.log_temperature
        )
        state = dataclasses.replace(
            state, log_temperature=log_temperature, temperature_optimizer=optimizer
        )
        return state, metrics

    def step_target(state: SACState) -> SACState:
        is_due = state.step % config.target_period == 0
        rate = jnp.where(is_due, config.target_rate, 0.0)
        source = state.value if config.value_network else state.critic
        target_critic = optax.incremental_update(source, state.target_critic, rate)
        return dataclasses.replace(state, target_critic=target_critic)

    def act(policy: Params, observation: Observation, key: PRNGKey, *, explore: bool) -> Array:
        mean, log_std = mean_and_log_std(policy, observation)
        if not explore:
            return distributions.policy_mode(mean, bound)
        return distributions.policy_distribution(mean, log_std, bound).sample(seed=key)

    return ActorCritic(
        init,
        target,
        critic_loss,
        step_critic,
        step_value,
        step_policy,
        step_temperature,
        step_target,
        act,
    )
