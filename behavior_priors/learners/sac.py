"""Soft actor-critic with twin critics and a tuned temperature.

Haarnoja et al. 2018b, "Soft Actor-Critic Algorithms and Applications", arXiv:1812.05905.

The steps that make an update are functions of their own, for learners that have something to do
between them, and what the policy pays for its choices is an argument: its log-density here, its
divergence from a prior in `kl_sac`. Acting through a behaviour prior needs nothing here: the
learner then sees an environment whose action is the prior's latent, and an unbounded action spec
makes its policy start as the latent's `N(0, I)`.
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
from behavior_priors.learner import ActFn, Choice, Learner
from behavior_priors.learners.parts import (
    descend,
    discounts,
    follow,
    make_adam,
    make_policy,
    resolve_names,
)
from behavior_priors.learners.sac_config import SACConfig, check_sac_config
from behavior_priors.networks import Critics
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

__all__ = ["Penalty", "SACConfig", "SACState", "SACSteps", "make_sac", "make_steps", "make_update"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SACState:
    """All that soft actor-critic remembers between two updates.

    `prior` has the parameters of what the policy pays for, where these change as it learns.
    """

    policy: Params
    critic: Params
    target_critic: Params
    log_temperature: Array
    policy_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    temperature_optimizer: optax.OptState
    key: PRNGKey
    step: Array
    prior: Params = ()


class Penalty(NamedTuple):
    """What a policy pays for its choices.

    Attributes:
      draw: `(parameters, policy's distribution, observation, key) -> (action, penalty [...])`, in
        nats and differentiable, under `SACState.prior`; the key is consumed.
      target: where the temperature rests, in nats.
      metrics: of the mean penalty of a batch.
    """

    draw: Callable[[Params, Any, Observation, PRNGKey], tuple[Array, Array]]
    target: float
    metrics: Callable[[Array], Metrics]


StepValueFn = Callable[[Any, Transition, PRNGKey], tuple[Any, Metrics]]
"""`(state, batch, key) -> (state, metrics)`; the key is consumed."""


def update_keys(key: PRNGKey) -> Array:
    """Keys `[4]` that an update makes of a state's: the next one, of target, values and policy."""
    return jax.random.split(key, 4)


class SACSteps(NamedTuple):
    """The steps of an update, each a function of the whole state.

    Attributes:
      init: makes a state.
      begin: likewise from four keys, of which a variant may have the last one for itself.
      target: `(state, batch, key) -> [batch]`, what the critics should say; the key is consumed.
      critic_loss: `(critic's parameters, batch, target) -> (loss, metrics)`.
      step_critic: `(state, gradient) -> state`.
      step_policy: `(state, batch, key) -> (state, penalty paid [batch], metrics)`, under the
        state's critics; the key is consumed.
      step_temperature: `(state, penalty paid) -> (state, metrics)`.
      step_target: moves the target critics.
      act: chooses an action.
      state_value: `(state, observation, key) -> [batch]`, what the critics say of the policy's
        choices, less what they cost; the key is consumed.
      step_value: of a network of values, which a variant has; taken before the policy's step.
    """

    init: Callable[[PRNGKey], Any]
    begin: Callable[[Array], Any]
    target: Callable[[Any, Transition, PRNGKey], Array]
    critic_loss: Callable[[Params, Transition, Array], tuple[Array, Metrics]]
    step_critic: Callable[[Any, Params], Any]
    step_policy: Callable[[Any, Transition, PRNGKey], tuple[Any, Array, Metrics]]
    step_temperature: Callable[[Any, Array], tuple[Any, Metrics]]
    step_target: Callable[[Any], Any]
    act: ActFn
    state_value: Callable[[Any, Observation, PRNGKey], Array]
    step_value: StepValueFn | None = None


def make_sac(
    config: SACConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    initial_policy: Params | None = None,
) -> Learner:
    """Soft actor-critic.

    Returns:
      The learner. Its metrics are `critic_loss`, `policy_loss`, `temperature_loss`, `q_mean` (of
      the batch's actions), `temperature`, `policy_std` (of the Gaussian, before any squashing) and
      `entropy` (of the policy, in nats).

    Raises:
      UserError: as `make_steps`.
    """
    penalty = entropy_penalty(config, action_spec)
    steps = make_steps(config, observation_spec, action_spec, penalty, initial_policy)
    return Learner(steps.init, make_update(steps), steps.act)


def entropy_penalty(config: SACConfig, action_spec: ActionSpec) -> Penalty:
    """Soft actor-critic's: the policy's log-density, whose target is minus the target entropy."""
    target_entropy = config.target_entropy
    if target_entropy is None:
        target_entropy = distributions.default_target_entropy(*action_spec)
    extra = 0.0
    if config.bound_once and action_spec.bound is not None:
        extra = (action_spec.size - 1) * math.log(action_spec.bound)

    def draw(_: Params, policy: Any, __: Observation, key: PRNGKey) -> tuple[Array, Array]:
        action, log_prob = policy.sample_and_log_prob(seed=key)
        return action, log_prob + extra if extra else log_prob

    return Penalty(draw, -target_entropy, metrics=lambda log_prob: {"entropy": -log_prob})


def make_update(steps: SACSteps) -> Callable[[Any, Transition], tuple[Any, Metrics]]:
    """One update, algorithm 1 of the paper: `(state, batch) -> (state, metrics)`.

    The critics, the policy under the critics just updated, the temperature, the target critics. The
    temperature's new value is first used by the next update, so that the policy's pass over the
    batch serves both of the last losses.
    """

    def update(state: Any, batch: Transition) -> tuple[Any, Metrics]:
        key, critic_key, value_key, policy_key = update_keys(state.key)
        state = dataclasses.replace(state, key=key, step=state.step + 1)
        target = steps.target(state, batch, critic_key)
        gradient, metrics = jax.grad(steps.critic_loss, has_aux=True)(state.critic, batch, target)
        state = steps.step_critic(state, gradient)
        if steps.step_value is not None:
            state, value_metrics = steps.step_value(state, batch, value_key)
            metrics |= value_metrics
        state, paid, policy_metrics = steps.step_policy(state, batch, policy_key)
        state, temperature_metrics = steps.step_temperature(state, paid)
        state = steps.step_target(state)
        return state, {**metrics, **policy_metrics, **temperature_metrics}

    return update


def make_steps(
    config: SACConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    penalty: Penalty,
    initial_policy: Params | None = None,
) -> SACSteps:
    """The steps of an actor and its critics, with a penalty on the policy in both.

    Args:
      config: hyper-parameters.
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
    names = resolve_names(config.critic_observation, observation_spec, "critic_observation")
    sight = Sight(observation_spec, names)
    size, bound = action_spec

    init_policy, mean_and_log_std = make_policy(config, observation_spec, size, initial_policy)
    critic_network: Any = Critics(
        config.num_critics, config.critic_widths, config.critic_layer_norm, sight
    )
    policy_adam, critic_adam, temperature_adam = (
        make_adam(rate, config.decay_updates)
        for rate in (
            config.policy_learning_rate,
            config.critic_learning_rate,
            config.temperature_learning_rate,
        )
    )

    def q_values(critic: Params, observation: Observation, action: Array) -> Array:
        return critic_network.apply(critic, observation, action)

    def init(key: PRNGKey) -> SACState:
        return begin(jax.random.split(key, 4))

    def begin(keys: Array) -> SACState:
        state_key, policy_key, critic_key, _ = keys
        policy = init_policy(policy_key)
        critic = critic_network.init(critic_key, sight.blank(), jnp.zeros(size))
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

    def draw(
        state: SACState, policy: Params, observation: Observation, key: PRNGKey
    ) -> tuple[Array, Array, tuple[Array, Array]]:
        mean, log_std = mean_and_log_std(policy, observation)
        choice = distributions.policy_distribution(mean, log_std, bound)
        action, paid = penalty.draw(state.prior, choice, observation, key)
        return action, paid, (mean, log_std)

    def target(state: SACState, batch: Transition, key: PRNGKey) -> Array:
        """Equations 2 and 3."""
        next_action, paid, _ = draw(state, state.policy, batch.next_observation, key)
        return td.soft_bellman_target(
            r_t=config.reward_scale * batch.reward,
            discount_t=discounts(config, batch),
            q_t=q_values(state.target_critic, batch.next_observation, next_action),
            penalty_t=paid,
            temperature=jnp.exp(state.log_temperature),
        )

    def critic_loss(critic: Params, batch: Transition, target: Array) -> tuple[Array, Metrics]:
        """Equation 5."""
        q = q_values(critic, batch.observation, batch.action)
        loss = td.critic_loss(q, target)
        return loss, {"critic_loss": loss, "q_mean": q.mean()}

    def policy_loss(
        policy: Params, state: SACState, batch: Transition, key: PRNGKey
    ) -> tuple[Array, tuple[Array, Array]]:
        """Equation 9; also what was paid `[batch]`, and the Gaussian's standard deviation."""
        action, paid, (mean, log_std) = draw(state, policy, batch.observation, key)
        q = q_values(state.critic, batch.observation, action)
        loss = td.soft_policy_loss(q, paid, jnp.exp(state.log_temperature))
        if config.policy_decay:
            spread = jnp.square(mean).mean() + jnp.square(log_std).mean()
            loss = loss + config.policy_decay * spread
        return loss, (paid, jnp.exp(log_std).mean())

    def state_value(state: SACState, observation: Observation, key: PRNGKey) -> Array:
        action, paid, _ = draw(state, state.policy, observation, key)
        q = q_values(state.critic, observation, action)
        return q.min(axis=0) - jnp.exp(state.log_temperature) * paid

    def step_critic(state: SACState, gradient: Params) -> SACState:
        critic, optimizer = descend(critic_adam, gradient, state.critic_optimizer, state.critic)
        return dataclasses.replace(state, critic=critic, critic_optimizer=optimizer)

    def step_policy(
        state: SACState, batch: Transition, key: PRNGKey
    ) -> tuple[SACState, Array, Metrics]:
        (loss, (paid, std)), gradient = jax.value_and_grad(policy_loss, has_aux=True)(
            state.policy, state, batch, key
        )
        policy, optimizer = descend(policy_adam, gradient, state.policy_optimizer, state.policy)
        state = dataclasses.replace(state, policy=policy, policy_optimizer=optimizer)
        metrics = {"policy_loss": loss, "policy_std": std, **penalty.metrics(paid.mean())}
        return state, paid, metrics

    def step_temperature(state: SACState, paid: Array) -> tuple[SACState, Metrics]:
        """Equation 18."""
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
        target_critic = follow(config, state.step, state.critic, state.target_critic)
        return dataclasses.replace(state, target_critic=target_critic)

    def act(policy: Params, observation: Observation, key: PRNGKey, *, explore: bool) -> Choice:
        mean, log_std = mean_and_log_std(policy, observation)
        if not explore:
            return Choice(distributions.policy_mode(mean, bound))
        return Choice(distributions.policy_distribution(mean, log_std, bound).sample(seed=key))

    return SACSteps(
        init,
        begin,
        target,
        critic_loss,
        step_critic,
        step_policy,
        step_temperature,
        step_target,
        act,
        state_value,
    )
