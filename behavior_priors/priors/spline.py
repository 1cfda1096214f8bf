"""Spline couplings over actions: a flow that bends where the real-NVP scales.

Durkan et al. 2019, "Neural Spline Flows" (arXiv:1906.04032), section 3.1 and appendix A: couplings
(`coupling_flow`) whose elementwise transform is a monotone spline of rational quadratics. One of
them can tear a Gaussian into several modes, for which affine couplings have to work together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import distrax
import jax
import jax.numpy as jnp

from behavior_priors.config.ranges import Range
from behavior_priors.priors.coupling_flow import (
    CouplingFlowConfig,
    Transform,
    make_coupling_flow,
)
from behavior_priors.priors.model import Model
from behavior_priors.types import ActionSpec, Array, ObservationSpec, Prior

LEAST_SIZE = 0.1
"""Of the width and the height that a bin has when all are alike, what every bin keeps."""

LEAST_SLOPE = 0.01
"""Of a spline at a knot. The authors' code (`bayesiains/nsf`) has 0.001 of the interval and 0.001,
with which single precision loses the way back where a spline is all but flat: from Gaussian numbers
with a standard deviation of 3 there and back again was off by up to 0.35, and is by 0.003 now."""


@dataclass(frozen=True)
class SplineConfig(CouplingFlowConfig):
    """Splines, beside what all flows of couplings have.

    Attributes:
      bins: pieces of each spline; the conditioner says how wide and how high they are, and how
        steep the spline is between them.
      range: splines bend within [-range, range], and are the identity outside. The default holds
        all but 6e-5 of N(0, 1), and of a squashed action, before the tanh, all up to the limit of
        0.999, which is at 3.8.
    """

    bins: Annotated[int, Range(least=2, most=100)] = 8
    # at 100 the knots are rounded to 1e-5 already
    range: Annotated[float, Range(least=0.01, most=100)] = 4.0


class _Spline(distrax.RationalQuadraticSpline):
    """The spline of distrax, also where JAX is told not to mix dtypes, as distrax does."""

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        with jax.numpy_dtype_promotion("standard"):
            return super().forward_and_log_det(x)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        with jax.numpy_dtype_promotion("standard"):
            return super().inverse_and_log_det(y)


def make_spline(
    config: SplineConfig, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> Prior:
    """A spline-flow behaviour prior, of actions `[..., size]`; see `make_coupling_flow`.

    For each dimension that it moves, a conditioner says `3 * bins - 1` numbers (section 3.1):
    unnormalised widths and heights of the bins, and slopes at the knots between them. Slopes at
    both ends are 1, so that the spline goes on as the identity. All of it is the identity at the
    initial parameters.

    Args:
      config: what the flow looks like.
      observation_spec: what observations look like.
      action_spec: what actions look like.

    Raises:
      UserError: the config does not fit the specs or itself.
    """
    numbers = 3 * config.bins - 1

    def spline(outputs: Array) -> distrax.Bijector:
        each = outputs.reshape(*outputs.shape[:-1], -1, numbers)
        sizes, slopes = jnp.split(each, [2 * config.bins], axis=-1)
        # distrax wants numbers for the ends too, and does not look at them
        ends = jnp.zeros((*each.shape[:-1], 1))
        return _Spline(
            jnp.concatenate([sizes, ends, slopes, ends], axis=-1),
            -config.range,
            config.range,
            boundary_slopes="identity",
            min_bin_size=LEAST_SIZE * 2 * config.range / config.bins,
            min_knot_slope=LEAST_SLOPE,
        )

    return make_coupling_flow(
        config,
        observation_spec,
        action_spec,
        Transform(numbers, spline),
        name="spline",
        who="the spline flow",
    )


MODEL = Model(SplineConfig(), make_spline)
