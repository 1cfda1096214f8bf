"""Temporal-difference losses on arrays.

Names carry time: an agent that observed `s_tm1` chose `a_tm1`, received `r_t` and observed `s_t`.
Every loss is a mean over the batch, and differentiates only with respect to the quantity that it is
a loss of.

A `penalty` is what a policy pays for its choice, in nats and weighed by the temperature: its
log-density in soft actor-critic (Haarnoja et al. 2018b, arXiv:1812.05905), its divergence from a
prior where it is to stay close to one (Pertsch et al. 2020, equations 2 and 3). Up to a constant
the former is the latter's case of a uniform prior.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from behavior_priors.types import Array


def soft_bellman_target(
    r_t: Array, discount_t: Array, q_t: Array, penalty_t: Array, temperature: Array
) -> Array:
    """Value that a soft critic should give to `(s_tm1, a_tm1)`.

    `r_t + discount_t (min_i Q_i(s_t, a_t) - temperature penalty_t)`: the soft Bellman backup with
    one sample of the next action (Haarnoja et al. 2018b, equations 2 and 3). The minimum over
    critics opposes their overestimation (section 5 there, after Fujimoto et al. 2018,
    arXiv:1802.09477).

    Args:
      r_t: `[batch]` rewards.
      discount_t: `[batch]` discounts, 0 where `s_t` must not be bootstrapped from.
      q_t: `[critics, batch]` target critics' values of the next action.
      penalty_t: `[batch]` what the policy pays at `s_t`, in nats.
      temperature: `[]`, the weight of the penalty.

    Returns:
      `[batch]` targets.
    """
    chex.assert_rank([r_t, discount_t, q_t, penalty_t, temperature], [1, 1, 2, 1, 0])
    chex.assert_equal_shape([r_t, discount_t, q_t[0], penalty_t])
    return r_t + discount_t * (q_t.min(axis=0) - temperature * penalty_t)


def critic_loss(q_tm1: Array, target_tm1: Array) -> Array:
    """Squared distance of every critic from the target they share.

    `sum_i 1/2 (Q_i(s_tm1, a_tm1) - target)^2` (Haarnoja et al. 2018b, equation 5). Summed over
    critics, so that one critic's gradient does not depend on how many others there are.

    Args:
      q_tm1: `[critics, batch]` values of the actions taken.
      target_tm1: `[batch]` targets, held fixed.

    Returns:
      The loss, `[]`.
    """
    chex.assert_rank([q_tm1, target_tm1], [2, 1])
    chex.assert_equal_shape([q_tm1[0], target_tm1])
    error = q_tm1 - jax.lax.stop_gradient(target_tm1)[None, :]
    return 0.5 * jnp.square(error).sum(axis=0).mean()


def soft_policy_loss(q_tm1: Array, penalty_tm1: Array, temperature: Array) -> Array:
    """How far the policy is from the Boltzmann policy of its critics.

    `temperature penalty_tm1 - min_i Q_i(s_tm1, a)`, for penalties and actions that are a
    differentiable function of the policy's parameters (Haarnoja et al. 2018b, equation 9).

    Args:
      q_tm1: `[critics, batch]` values of the policy's own actions.
      penalty_tm1: `[batch]` what the policy pays at `s_tm1`, in nats.
      temperature: `[]`, held fixed.

    Returns:
      The loss, `[]`.
    """
    chex.assert_rank([q_tm1, penalty_tm1, temperature], [2, 1, 0])
    chex.assert_equal_shape([q_tm1[0], penalty_tm1])
    return (jax.lax.stop_gradient(temperature) * penalty_tm1 - q_tm1.min(axis=0)).mean()


def temperature_loss(log_temperature: Array, penalty_tm1: Array, target_penalty: float) -> Array:
    """Raises the temperature while the policy pays more than the target, else lowers it.

    `log(temperature) (target_penalty - penalty_tm1)`: with log-densities, whose target is minus the
    target entropy, it is Haarnoja et al. 2018b, equation 18, but with the temperature's logarithm
    in the temperature's place, as in the authors' own and most later implementations. The gradient
    is then the penalty's distance from its target, not scaled by a temperature that may have become
    tiny, and the temperature stays positive.

    Args:
      log_temperature: `[]`.
      penalty_tm1: `[batch]` what the policy pays, in nats, held fixed.
      target_penalty: in nats.

    Returns:
      The loss, `[]`.
    """
    chex.assert_rank([log_temperature, penalty_tm1], [0, 1])
    return log_temperature * (target_penalty - jax.lax.stop_gradient(penalty_tm1).mean())
