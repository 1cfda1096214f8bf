"""PEARL: soft actor-critic that is told which task it is in by what it has seen of it.

Rakelly et al. 2019, "Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context
Variables", algorithm 1. The critics' loss and the belief's divergence from `N(0, I)` train the
encoder; the policy takes descriptions as they are.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import LearningRate, Weight
from behavior_priors.errors import UserError
from behavior_priors.learner import Choice, MetaLearner
from behavior_priors.learners.kind import MetaKind
from behavior_priors.learners.parts import descend, make_adam
from behavior_priors.learners.sac import SACState, entropy_penalty
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.learners.sac_value import ValueSACConfig, make_steps_of
from behavior_priors.objectives.context import describe
from behavior_priors.types import (
    ActionSpec,
    Array,
    ArraySpec,
    Context,
    ContextEncoder,
    Metrics,
    Observation,
    ObservationSpec,
    Params,
    PRNGKey,
    TaskBelief,
    Transition,
)

DESCRIPTION = "task_description"
"""What policy and critics call the array that describes the task."""


@dataclass(frozen=True)
class PearlConfig:
    """What PEARL adds to soft actor-critic.

    Attributes:
      divergence_weight: of a belief's divergence from N(0, I), in nats, summed over dimensions and
        averaged over tasks, beside the critics' loss. `averaged_weight` converts the authors'.
      encoder_learning_rate: Adam's step size for the encoder; it decays with those of soft
        actor-critic.
    """

    divergence_weight: Weight = 0.1
    encoder_learning_rate: LearningRate = 3e-4


def averaged_weight(kl_lambda: float, meta_batch: int) -> float:
    """The `divergence_weight` that does what the authors' code does with `kl_lambda`.

    There divergences are summed over the tasks of a batch, while the critics' loss is an average
    over them, and squared errors are not halved as they are here.
    """
    return 0.5 * kl_lambda * meta_batch


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PearlState:
    """All that PEARL remembers between two updates.

    Attributes:
      policy: what acting needs: the `actor` and the `encoder`.
      rest: of soft actor-critic, without its policy, which is the actor.
      encoder_optimizer: Adam's state.
      key: source of descriptions.
      step: `[]` int32, updates made.
    """

    policy: Params
    rest: SACState
    encoder_optimizer: optax.OptState
    key: PRNGKey
    step: Array


def update_keys(key: PRNGKey) -> Array:
    """Keys `[5]` that an update makes of a state's: the next one, of descriptions, then SAC's."""
    return jax.random.split(key, 5)


def make_pearl(
    config: PearlConfig,
    sac: SACConfig,
    encoder: ContextEncoder,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
) -> MetaLearner:
    """PEARL, on soft actor-critic with twin target critics and a tuned temperature.

    An update draws one description for each task, from the belief that its context leads to, and
    has the critics, the encoder, the policy, the temperature and the target critics take a step
    each. Only the critics' loss sees through descriptions; targets and the policy do not.

    Args:
      config: of the encoder's training.
      sac: of the actor and its critics; names of observations that it lists are those of the
        environment, and the description is added to them.
      encoder: what tells tasks apart.
      observation_spec: of the environment's observations.
      action_spec: of its actions.

    Returns:
      The learner. Its metrics are those of `make_sac`, `belief_divergence` and `belief_std`.

    Raises:
      UserError: a config does not make sense, or names an observation that does not exist.
    """
    check_ranges(config)
    if DESCRIPTION in observation_spec:
        raise UserError(f"no observation may be called {DESCRIPTION}: that is what PEARL adds")
    spec = {**observation_spec, DESCRIPTION: ArraySpec((encoder.latent_size,))}
    policy_names, critic_names = (
        (*names, DESCRIPTION) if names else ()
        for names in (sac.policy_observation, sac.critic_observation)
    )
    sac = dataclasses.replace(sac, policy_observation=policy_names, critic_observation=critic_names)
    steps = make_steps_of(sac, spec, action_spec, entropy_penalty(sac, action_spec))
    adam = make_adam(config.encoder_learning_rate, sac.decay_updates)

    def init(key: PRNGKey) -> PearlState:
        key, encoder_key, sac_key = jax.random.split(key, 3)
        actor_critic, params = steps.init(sac_key), encoder.init(encoder_key)
        return PearlState(
            policy={"actor": actor_critic.policy, "encoder": params},
            rest=dataclasses.replace(actor_critic, policy=()),
            encoder_optimizer=adam.init(params),
            key=key,
            step=jnp.zeros((), jnp.int32),
        )

    def update(
        state: PearlState, context: Context, batch: Transition
    ) -> tuple[PearlState, Metrics]:
        key, describe_key, target_key, value_key, policy_key = update_keys(state.key)
        step = state.step + 1
        before = dataclasses.replace(state.rest, policy=state.policy["actor"], step=step)

        def loss_fn(critic: Params, params: Params) -> tuple[Array, tuple[Array, Metrics]]:
            belief = encoder.infer(params, context)
            description = describe(belief, describe_key)
            held = join(batch, jax.lax.stop_gradient(description))
            target = steps.target(before, held, target_key)
            loss, metrics = steps.critic_loss(critic, join(batch, description), target)
            divergence = encoder.divergence(belief).mean()
            metrics = {
                **metrics,
                "belief_divergence": divergence,
                "belief_std": jnp.sqrt(belief.variance).mean(),
            }
            return loss + config.divergence_weight * divergence, (description, metrics)

        params = state.policy["encoder"]
        gradients, (description, metrics) = jax.grad(loss_fn, argnums=(0, 1), has_aux=True)(
            before.critic, params
        )
        actor_critic = steps.step_critic(before, gradients[0])
        params, encoder_optimizer = descend(adam, gradients[1], state.encoder_optimizer, params)
        described = join(batch, jax.lax.stop_gradient(description))
        if steps.step_value is not None:
            actor_critic, value_metrics = steps.step_value(actor_critic, described, value_key)
            metrics |= value_metrics
        actor_critic, paid, policy_metrics = steps.step_policy(actor_critic, described, policy_key)
        actor_critic, temperature_metrics = steps.step_temperature(actor_critic, paid)
        actor_critic = steps.step_target(actor_critic)
        state = PearlState(
            policy={"actor": actor_critic.policy, "encoder": params},
            rest=dataclasses.replace(actor_critic, policy=()),
            encoder_optimizer=encoder_optimizer,
            key=key,
            step=step,
        )
        return state, {**metrics, **policy_metrics, **temperature_metrics}

    def infer(policy: Params, context: Context) -> TaskBelief:
        return encoder.infer(policy["encoder"], context)

    def act(policy: Params, observation: Observation, key: PRNGKey, *, explore: bool) -> Choice:
        return steps.act(policy["actor"], observation, key, explore=explore)

    return MetaLearner(init, update, infer, act, DESCRIPTION)


def join(batch: Transition, description: Array) -> Transition:
    """Transitions of many tasks as one batch, each with its task's description.

    Args:
      batch: `[tasks, batch, ...]`.
      description: `[tasks, latent_size]`.

    Returns:
      `[tasks * batch, ...]`.
    """
    shape = batch.reward.shape

    def flat(x: Array) -> Array:
        return x.reshape(shape[0] * shape[1], *x.shape[2:])

    repeated = jnp.repeat(description, shape[1], axis=0)
    joined: Any = jax.tree.map(flat, batch)
    return joined._replace(
        observation={**joined.observation, DESCRIPTION: repeated},
        next_observation={**joined.next_observation, DESCRIPTION: repeated},
    )


KIND = MetaKind(ValueSACConfig(), PearlConfig(), make_pearl)
