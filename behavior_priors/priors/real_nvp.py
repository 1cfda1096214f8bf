"""Conditional real-NVP over actions: the behaviour prior of PARROT.

Singh, Liu et al. 2021, "Parrot: Data-Driven Behavioral Priors for Reinforcement Learning",
section 3.1 and figure 6, after Dinh et al. 2017, "Density estimation using Real NVP": a flow of
couplings (`coupling_flow`) that are affine, `y = x * exp(v) + t`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import distrax
import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.config.ranges import Limit
from behavior_priors.priors.coupling_flow import (
    CouplingFlowConfig,
    Transform,
    make_coupling_flow,
)
from behavior_priors.priors.model import Model
from behavior_priors.types import ActionSpec, Array, ObservationSpec, Prior

PAPER_ENCODER_WIDTHS = (1024, 512, 256)
"""The fully connected layers of the paper's image encoder (figure 6c)."""

PYTORCH_LINEAR_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""Kernels uniform in `+-1 / sqrt(fan_in)`."""


@dataclass(frozen=True)
class RealNVPConfig(CouplingFlowConfig):
    """Affine couplings and how they start, beside what all flows of couplings have.

    Attributes:
      log_scale_bound: log-scales stay within this by bound * tanh(raw / bound); None for no bound.
      final_init: zeros starts the flow as the identity, uniform as the paper's code does.
    """

    log_scale_bound: Limit | None = 2.0
    final_init: Literal["zeros", "uniform"] = "zeros"

    @classmethod
    def paper_text(cls, observation: tuple[str, ...] = ()) -> RealNVPConfig:
        """The flow as the paper's text gives it: actions as they are, log-scales unbounded.

        What the text leaves open (the initialisation) follows the code.
        """
        return cls(
            observation=observation,
            encoder_widths=PAPER_ENCODER_WIDTHS,
            log_scale_bound=None,
            final_init="uniform",
        )

    @classmethod
    def paper_code(cls, observation: tuple[str, ...] = ()) -> RealNVPConfig:
        """The flow as the first author's public code has it.

        From `rnvp_policy.py` and `real_nvp_pixel.py` of JonathanYang0127/iris_robot_learning: one
        dummy dimension, a tanh at the end, log-scales in `[-1, 1]`. The data behind it was clipped
        to 0.9 of the action's bounds. Two differences: biases start at zero, and the likelihood
        includes the Jacobian of the tanh, a constant in the parameters.
        """
        return cls(
            observation=observation,
            encoder_widths=PAPER_ENCODER_WIDTHS,
            log_scale_bound=1.0,
            squash=True,
            squash_limit=0.9,
            padding=1,
            final_init="uniform",
        )


def make_real_nvp(
    config: RealNVPConfig, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> Prior:
    """A real-NVP behaviour prior, of actions `[..., size]`; see `make_coupling_flow`.

    Args:
      config: what the flow looks like.
      observation_spec: what observations look like.
      action_spec: what actions look like.

    Raises:
      UserError: the config does not fit the specs or itself.
    """
    uniform = config.final_init == "uniform"

    def affine(outputs: Array) -> distrax.Bijector:
        shift, log_scale = jnp.split(outputs, 2, axis=-1)
        if config.log_scale_bound is not None:
            log_scale = config.log_scale_bound * jnp.tanh(log_scale / config.log_scale_bound)
        return distrax.ScalarAffine(shift, log_scale=log_scale)

    return make_coupling_flow(
        config,
        observation_spec,
        action_spec,
        Transform(2, affine),
        name="real_nvp",
        who="the real-NVP",
        kernel_init=PYTORCH_LINEAR_INIT if uniform else None,
        final_init=PYTORCH_LINEAR_INIT if uniform else nn.initializers.zeros,
    )


MODEL = Model(RealNVPConfig(), make_real_nvp)
