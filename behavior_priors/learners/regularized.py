"""An actor and twin critics with a penalty on the actor's choices, the core of soft actor-critic.

What the policy pays for its choices is a function: its log-density in `sac`, its divergence from a
prior in `kl_sac`. Acting through a behaviour prior needs nothing here: the learner then sees an
environment whose action is the prior's latent, and an unbounded action spec makes its policy start
as the latent's `N(0, I)`.
"""

from __future__ import annotations

import dataclasses

import jax

from behavior_priors.learner import Learner
from behavior_priors.learners.actor_critic import Penalty, SACState, make_actor_critic
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.types import ActionSpec, Metrics, ObservationSpec, Params, Transition


def make_regularized(
    config: SACConfig,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    penalty: Penalty,
    initial_policy: Params | None = None,
) -> Learner:
    """An actor and its critics, with a penalty on the policy in both.

    One update takes the steps in the customary order: the critics, the network of values, where
    there is one, and the policy under the critics just updated, the temperature, the target
    critics. The temperature's new value is first used by the next update, so that the policy's pass
    over the batch serves both of the last losses.

    Args:
      config: hyper-parameters; the target entropy is not among those that are read.
      observation_spec: of the observations in batches.
      action_spec: as for `make_actor_critic`.
      penalty: what the policy pays.
      initial_policy: parameters to start the policy from, such as behavioural cloning's.

    Returns:
      The learner. Its metrics are the penalty's, `critic_loss`, `policy_loss`, `temperature_loss`,
      `q_mean` (of the batch's actions), `temperature` and `policy_std` (of the Gaussian, before any
      squashing).

    Raises:
      UserError: as `make_actor_critic`.
    """
    parts = make_actor_critic(config, observation_spec, action_spec, penalty, initial_policy)

    def update(state: SACState, batch: Transition) -> tuple[SACState, Metrics]:
        key, critic_key, value_key, policy_key = jax.random.split(state.key, 4)
        state = dataclasses.replace(state, key=key, step=state.step + 1)
        target = parts.target(state, batch, critic_key)
        gradient, critic_metrics = jax.grad(parts.critic_loss, has_aux=True)(
            state.critic, batch, target
        )
        state = parts.step_critic(state, gradient)
        state, value_metrics = parts.step_value(state, batch, value_key)
        state, paid, policy_metrics = parts.step_policy(state, batch, policy_key)
        state, temperature_metrics = parts.step_temperature(state, paid)
        state = parts.step_target(state)
        return state, {
            **critic_metrics,
            **value_metrics,
            **policy_metrics,
            **temperature_metrics,
        }

    return Learner(parts.init, update, parts.act)
