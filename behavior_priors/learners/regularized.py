"""An actor and twin critics with a penalty on the actor's choices, the core of soft actor-critic.

Haarnoja et al. 2018b, "Soft Actor-Critic Algorithms and Applications", arXiv:1812.05905. What the
policy pays for its choices is a function: its log-density in `sac`, its divergence from a prior in
`kl_sac`. Acting through a behaviour prior needs nothing here: the learner then sees an environment
whose action is the prior's latent, and an unbounded action spec makes its policy start as the
latent's `N(0, I)`.
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
from behavior_priors.checks import check_rules
from behavior_priors.learner import Learner
from behavior_priors.learners.parts import copy_if_alike, descend, resolve_names
from behavior_priors.networks import (
    Critics,
    GaussianPolicy,
    flatten_observation,
    image_slots,
    observation_size,
)
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


@dataclasses.dataclass(frozen=True)
class SACConfig:
    """Hyper-parameters of soft actor-critic.

    The target critic follows the critic a little after every update by default; PARROT copies it
    whole, with `target_rate=1.0` and `target_period=1000`.

    Attributes:
      policy_observation: names of the arrays that the policy sees; empty for all.
      critic_observation: names of the arrays that the critics see; empty for all.
      policy_widths: hidden layers of the policy.
      critic_widths: hidden layers of each critic.
      critic_layer_norm: normalise the critics' hidden layers.
      num_critics: how many critics there are; targets use the lowest.
      policy_learning_rate: Adam's step size for the policy.
      critic_learning_rate: Adam's step size for the critics.
      temperature_learning_rate: Adam's step size for the temperature's logarithm.
      discount: weight of the next step's value.
      target_rate: share of the critic that moves into the target critic.
      target_period: number of updates between movements of the target critic.
      initial_temperature: weight of the entropy at the start.
      fixed_temperature: keep the initial temperature.
      target_entropy: the policy's entropy, in nats, at which the temperature rests; None derives it
        from the action's size and bound.
      reward_scale: factor on rewards.
      min_log_std: lower limit of the policy's log standard deviations.
      max_log_std: upper limit of the policy's log standard deviations.
      mean_bound: the policy's means, before any squashing, stay within this; none for no bound.
    """

    policy_observation: tuple[str, ...] = ()
    critic_observation: tuple[str, ...] = ()
    policy_widths: tuple[int, ...] = (256, 256)
    critic_widths: tuple[int, ...] = (256, 256)
    critic_layer_norm: bool = False
    num_critics: int = 2
    policy_learning_rate: float = 3e-4
    critic_learning_rate: float = 3e-4
    temperature_learning_rate: float = 3e-4
    discount: float = 0.99
    target_rate: float = 0.005
    target_period: int = 1
    initial_temperature: float = 1.0
    fixed_temperature: bool = False
    target_entropy: float | None = None
    reward_scale: float = 1.0
    min_log_std: float = -5.0
    max_log_std: float = 2.0
    mean_bound: float | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SACState:
    """All that soft actor-critic remembers between two updates."""

    policy: Params
    critic: Params
    target_critic: Params
    log_temperature: Array
    policy_optimizer: optax.OptState
    critic_optimizer: optax.OptState
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


def make_regularized(
    config: SACConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    penalty: Penalty,
    initial_policy: Params | None = None,
) -> Learner:
    """An actor and its critics, with a penalty on the policy in both.

    One update takes the steps in the customary order: the critics, the policy under the critics
    just updated, the temperature, the target critics. The temperature's new value is first used by
    the next update, so that the policy's pass over the batch serves both of the last losses.

    Args:
      config: hyper-parameters; the target entropy is not among those that are read.
      observation_spec: of the observations in batches.
      action_spec: without a bound the policy is a Gaussian, with a bound `b` it is
        `b * tanh(Gaussian)`.
      penalty: what the policy pays.
      initial_policy: parameters to start the policy from, such as behavioural cloning's.

    Returns:
      The learner. Its metrics are the penalty's, `critic_loss`, `policy_loss`, `temperature_loss`,
      `q_mean` (of the batch's actions), `temperature` and `policy_std` (of the Gaussian, before any
      squashing).

    Raises:
      UserError: the config does not make sense, names an observation that does not exist, or
        describes another network than the one that `initial_policy` belongs to.
    """
    _check(config)
    policy_names = resolve_names(config.policy_observation, observation_spec, "policy_observation")
    critic_names = resolve_names(config.critic_observation, observation_spec, "critic_observation")
    size, bound = action_spec

    policy_network = GaussianPolicy(
        config.policy_widths,
        size,
        config.min_log_std,
        config.max_log_std,
        config.mean_bound,
        image_slots(observation_spec, policy_names),
    )
    critic_network = Critics(
        config.num_critics,
        config.critic_widths,
        config.critic_layer_norm,
        image_slots(observation_spec, critic_names),
    )
    policy_adam = optax.adam(config.policy_learning_rate)
    critic_adam = optax.adam(config.critic_learning_rate)
    temperature_adam = optax.adam(config.temperature_learning_rate)

    apply_policy: Callable[..., Any] = policy_network.apply
    apply_critic: Callable[..., Any] = critic_network.apply

    def mean_and_log_std(policy: Params, observation: Observation) -> tuple[Array, Array]:
        return apply_policy(
            policy, flatten_observation(observation, observation_spec, policy_names)
        )

    def q_values(critic: Params, observation: Observation, action: Array) -> Array:
        x = flatten_observation(observation, observation_spec, critic_names)
        return apply_critic(critic, x, action)

    def init(key: PRNGKey) -> SACState:
        state_key, policy_key, critic_key = jax.random.split(key, 3)
        policy_input = jnp.zeros(observation_size(observation_spec, policy_names))
        critic_input = jnp.zeros(observation_size(observation_spec, critic_names))
        policy = policy_network.init(policy_key, policy_input)
        if initial_policy is not None:
            policy = copy_if_alike(initial_policy, policy)
        critic = critic_network.init(critic_key, critic_input, jnp.zeros(size))
        log_temperature = jnp.asarray(math.log(config.initial_temperature), jnp.float32)
        return SACState(
            policy=policy,
            critic=critic,
            target_critic=jax.tree.map(jnp.copy, critic),
            log_temperature=log_temperature,
            policy_optimizer=policy_adam.init(policy),
            critic_optimizer=critic_adam.init(critic),
            temperature_optimizer=temperature_adam.init(log_temperature),
            key=state_key,
            step=jnp.zeros((), jnp.int32),
        )

    def update_critic(state: SACState, batch: Transition, key: PRNGKey) -> tuple[SACState, Metrics]:
        # A time limit or a diverged simulation ends the recording, not the task, whose rewards
        # would have gone on: only termination makes the future worth nothing.
        discount = config.discount * (1.0 - batch.terminated.astype(jnp.float32))
        mean, log_std = mean_and_log_std(state.policy, batch.next_observation)
        policy = distributions.policy_distribution(mean, log_std, bound)
        next_action, paid = penalty.draw(policy, batch.next_observation, key)
        next_q = q_values(state.target_critic, batch.next_observation, next_action)
        target = td.soft_bellman_target(
            r_t=config.reward_scale * batch.reward,
            discount_t=discount,
            q_t=next_q,
            penalty_t=paid,
            temperature=jnp.exp(state.log_temperature),
        )

        def loss_fn(params: Params) -> tuple[Array, Array]:
            q = q_values(params, batch.observation, batch.action)
            return td.critic_loss(q, target), q.mean()

        (loss, q_mean), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state.critic)
        critic, optimizer = descend(critic_adam, gradient, state.critic_optimizer, state.critic)
        state = dataclasses.replace(state, critic=critic, critic_optimizer=optimizer)
        return state, {"critic_loss": loss, "q_mean": q_mean}

    def update_policy(
        state: SACState, batch: Transition, key: PRNGKey
    ) -> tuple[SACState, Array, Metrics]:
        def loss_fn(params: Params) -> tuple[Array, tuple[Array, Array]]:
            mean, log_std = mean_and_log_std(params, batch.observation)
            policy = distributions.policy_distribution(mean, log_std, bound)
            action, paid = penalty.draw(policy, batch.observation, key)
            q = q_values(state.critic, batch.observation, action)
            loss = td.soft_policy_loss(q, paid, jnp.exp(state.log_temperature))
            return loss, (paid, jnp.exp(log_std).mean())

        (loss, (paid, std)), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state.policy)
        policy, optimizer = descend(policy_adam, gradient, state.policy_optimizer, state.policy)
        state = dataclasses.replace(state, policy=policy, policy_optimizer=optimizer)
        metrics = {"policy_loss": loss, "policy_std": std, **penalty.metrics(paid.mean())}
        return state, paid, metrics

    def update_temperature(state: SACState, paid: Array) -> tuple[SACState, Metrics]:
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

    def update_target(state: SACState) -> SACState:
        is_due = state.step % config.target_period == 0
        rate = jnp.where(is_due, config.target_rate, 0.0)
        target_critic = optax.incremental_update(state.critic, state.target_critic, rate)
        return dataclasses.replace(state, target_critic=target_critic)

    def update(state: SACState, batch: Transition) -> tuple[SACState, Metrics]:
        key, critic_key, policy_key = jax.random.split(state.key, 3)
        state = dataclasses.replace(state, key=key, step=state.step + 1)
        state, critic_metrics = update_critic(state, batch, critic_key)
        state, paid, policy_metrics = update_policy(state, batch, policy_key)
        state, temperature_metrics = update_temperature(state, paid)
        state = update_target(state)
        return state, {**critic_metrics, **policy_metrics, **temperature_metrics}

    def act(policy: Params, observation: Observation, key: PRNGKey, *, explore: bool) -> Array:
        mean, log_std = mean_and_log_std(policy, observation)
        if not explore:
            return distributions.policy_mode(mean, bound)
        return distributions.policy_distribution(mean, log_std, bound).sample(seed=key)

    return Learner(init, update, act)


def _check(config: SACConfig) -> None:
    """Refuses values outside their range."""
    rates = ("policy_learning_rate", "critic_learning_rate", "temperature_learning_rate")
    widths = ("policy_widths", "critic_widths")
    check_rules(
        config,
        {
            **{name: (getattr(config, name) > 0, "positive") for name in rates},
            **{name: (min(getattr(config, name), default=1) > 0, "positive") for name in widths},
            "num_critics": (config.num_critics >= 1, "at least 1"),
            "discount": (0 <= config.discount <= 1, "in [0, 1]"),
            "target_rate": (0 < config.target_rate <= 1, "in (0, 1]"),
            "target_period": (config.target_period >= 1, "at least 1"),
            "initial_temperature": (config.initial_temperature > 0, "positive"),
            "min_log_std": (config.min_log_std <= config.max_log_std, "at most max_log_std"),
            "mean_bound": (config.mean_bound is None or config.mean_bound > 0, "positive, or none"),
        },
    )
