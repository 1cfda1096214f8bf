"""Policy-gradient losses on arrays: advantages from whole stretches of experience, and PPO's loss.

Names carry time: an agent that observed `s_tm1` chose `a_tm1`, received `r_t` and observed `s_t`.
`s_t` is where the step led, at an episode's end the terminal observation and never the first one of
the next episode.

A mask `valid` is False where a simulation diverged: such a step is no experience. Losses are means
over the valid elements, 0 if there is none, and differentiate only with respect to the quantity
that they are a loss of.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from behavior_priors.types import Array


def generalized_advantage(
    r_t: Array,
    v_tm1: Array,
    v_t: Array,
    terminated_t: Array,
    truncated_t: Array,
    valid_t: Array,
    discount: float,
    trace: float,
) -> Array:
    """How much better than the value foresaw the actions turned out to be.

    `A_tm1 = delta_t + discount trace A_t` with `delta_t = r_t + discount V(s_t) - V(s_tm1)`
    (Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage
    Estimation", arXiv:1506.02438, equation 16 as a recursion; Schulman et al. 2017, equations 11
    and 12). Where the task terminated, the future is worth nothing; where only its recording was
    truncated, it is worth the terminal observation's value. Over neither does an advantage flow
    back, because the next row belongs to another episode, nor from a step that was not valid. The
    stretch's last step is bootstrapped from `v_t` like any other.

    Args:
      r_t: `[time, batch]` rewards.
      v_tm1: `[time, batch]` values of the observations acted on.
      v_t: `[time, batch]` values of the observations that the steps led to.
      terminated_t: `[time, batch]` bool; where a step is also truncated, this holds.
      truncated_t: `[time, batch]` bool.
      valid_t: `[time, batch]` bool; elsewhere `r_t` and `v_t` may be anything.
      discount: weight of the next step.
      trace: the paper's lambda, from 0, where advantages are one-step errors, to 1, where they are
        returns less values.

    Returns:
      `[time, batch]` advantages, 0 where not valid. With `v_tm1` added they are the lambda-returns,
      which are targets for the value.
    """
    chex.assert_rank([r_t, v_tm1, v_t, terminated_t, truncated_t, valid_t], 2)
    chex.assert_equal_shape([r_t, v_tm1, v_t, terminated_t, truncated_t, valid_t])
    future = jnp.where(terminated_t, 0.0, v_t)
    delta = jnp.where(valid_t, r_t + discount * future - v_tm1, 0.0)
    goes_on = valid_t & ~terminated_t & ~truncated_t
    decay = jnp.where(goes_on, discount * trace, 0.0)

    def accumulate(following: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        error, weight = step
        advantage = error + weight * following
        return advantage, advantage

    return jax.lax.scan(accumulate, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)[1]


def standardize(x: Array, valid: Array) -> Array:
    """Numbers `[batch]` with mean 0 and standard deviation 1 over the valid ones.

    The customary treatment of PPO's advantages, which the paper does not mention: it makes a
    learning rate mean the same whatever rewards are measured in. Numbers that are all the same
    become 0.
    """
    chex.assert_rank([x, valid], 1)
    chex.assert_equal_shape([x, valid])
    centred = x - masked_mean(x, valid)
    deviation = jnp.sqrt(masked_mean(jnp.square(centred), valid))
    return jnp.where(valid, centred / (deviation + 1e-8), 0.0)


def clipped_surrogate_loss(
    log_prob_tm1: Array, old_log_prob_tm1: Array, advantage_tm1: Array, valid: Array, clip: float
) -> Array:
    """Raises the probability of what turned out well, while it is close to what it was.

    `-min(rho A, clip(rho, 1 - clip, 1 + clip) A)` with `rho = pi(a_tm1) / pi_old(a_tm1)` (Schulman
    et al. 2017, "Proximal Policy Optimization Algorithms", arXiv:1707.06347, equation 7). An action
    has no gradient where its ratio has gone beyond the clip in the direction that its advantage
    wants.

    Args:
      log_prob_tm1: `[batch]` log-densities of the actions taken, in nats.
      old_log_prob_tm1: `[batch]` what they were when the actions were taken, held fixed.
      advantage_tm1: `[batch]`, held fixed.
      valid: `[batch]` bool.
      clip: how far the ratio may move from 1, the paper's epsilon.

    Returns:
      The loss, `[]`.
    """
    chex.assert_rank([log_prob_tm1, old_log_prob_tm1, advantage_tm1, valid], 1)
    chex.assert_equal_shape([log_prob_tm1, old_log_prob_tm1, advantage_tm1, valid])
    advantage = jax.lax.stop_gradient(advantage_tm1)
    ratio = jnp.exp(log_prob_tm1 - jax.lax.stop_gradient(old_log_prob_tm1))
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -masked_mean(jnp.minimum(ratio * advantage, clipped * advantage), valid)


def value_loss(v_tm1: Array, target_tm1: Array, valid: Array) -> Array:
    """Squared distance of the value from its target.

    `1/2 (V(s_tm1) - target)^2` (Schulman et al. 2017, below equation 9, and 2016, equation 28).

    Args:
      v_tm1: `[batch]` values.
      target_tm1: `[batch]` targets, held fixed.
      valid: `[batch]` bool.

    Returns:
      The loss, `[]`.
    """
    chex.assert_rank([v_tm1, target_tm1, valid], 1)
    chex.assert_equal_shape([v_tm1, target_tm1, valid])
    return 0.5 * masked_mean(jnp.square(v_tm1 - jax.lax.stop_gradient(target_tm1)), valid)


def policy_change(log_prob_tm1: Array, old_log_prob_tm1: Array, valid: Array) -> Array:
    """Estimates `KL(pi_old || pi)` in nats, `[]`, from actions of the old policy.

    `rho - 1 - log(rho)`, of which no term is negative and whose mean is the divergence (Schulman
    2020, "Approximating KL Divergence").

    Args:
      log_prob_tm1: `[batch]` log-densities of the actions taken, in nats.
      old_log_prob_tm1: `[batch]` what they were when the actions were taken.
      valid: `[batch]` bool.
    """
    chex.assert_rank([log_prob_tm1, old_log_prob_tm1, valid], 1)
    chex.assert_equal_shape([log_prob_tm1, old_log_prob_tm1, valid])
    log_ratio = log_prob_tm1 - old_log_prob_tm1
    return masked_mean(jnp.expm1(log_ratio) - log_ratio, valid)


def masked_mean(x: Array, valid: Array) -> Array:
    """Mean `[]` of the valid numbers of `[batch]`, 0 if there is none."""
    count = jnp.maximum(valid.sum(dtype=x.dtype), 1.0)
    return jnp.sum(x, where=valid) / count
