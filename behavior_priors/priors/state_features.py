"""Features of a state that a prior over actions is conditioned on: PARROT's `psi(s)`.

Singh, Liu et al. 2021, section 3.1 and figure 6: the observation is encoded once, and whatever the
prior computes for one action or another sees the same features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from behavior_priors.config.checks import check_observation
from behavior_priors.config.ranges import FewOrZero, Width
from behavior_priors.errors import UserError
from behavior_priors.history import HISTORY, History
from behavior_priors.networks import MLP, Initializer, SetEncoder
from behavior_priors.torso import Sight, flatten_things
from behavior_priors.types import Array, Observation, ObservationSpec, Params, PRNGKey


@dataclass(frozen=True)
class FeaturesConfig:
    """What a prior sees, and the layers that see it.

    Attributes:
      observation: names of the observation arrays that the prior sees; none means all of them.
      set_observation: those of them whose first axis lists interchangeable things, such as objects;
        features then do not depend on the things' order.
      set_present: name of the array, also among them, that says which of the things are there, by 1
        or 0; features then do not depend on the others. None where all are.
      encoder_widths: layers that turn the observation into features; none leaves it as it is.
      history: past steps that the prior sees as well, each an observation and what was done there.
    """

    observation: tuple[str, ...] = ()
    set_observation: tuple[str, ...] = ()
    set_present: str | None = None
    encoder_widths: tuple[Width, ...] = (256,)
    history: FewOrZero = 0


class StateFeatures(NamedTuple):
    """The encoder.

    Attributes:
      init: `(key) -> (params, features)`, the latter of an observation of zeros.
      encode: `(params, observation) -> features [..., size]`.
    """

    init: Callable[[PRNGKey], tuple[Params, Array]]
    encode: Callable[[Params, Observation], Array]


def make_state_features(
    config: FeaturesConfig,
    who: str,
    spec: ObservationSpec,
    kernel_init: Initializer | None = None,
) -> StateFeatures:
    """The encoder that a config describes.

    Args:
      config: what is seen, by which layers.
      who: sees, for messages, such as "the real-NVP".
      spec: of observations.
      kernel_init: of its layers; LeCun's by default.

    Raises:
      UserError: the config does not fit the spec or itself.
    """
    _check(config, who, spec)
    names, things = (*seen_names(config, spec), *_past(config)), config.set_observation
    present = config.set_present
    kernel_init = kernel_init or nn.initializers.lecun_normal()
    shared = Sight(spec, tuple(name for name in names if name not in (*things, present)))
    widths = config.encoder_widths
    network: Any = (
        SetEncoder(widths, kernel_init, shared)
        if things
        else MLP(widths, activate_final=True, kernel_init=kernel_init, sight=shared)
    )

    def arguments(observation: Observation) -> list[Any]:
        """What is shared, the things and which of them are there, if any."""
        parts: list[Any] = [observation]
        if things:
            parts.append(flatten_things(observation, spec, things))
        return parts if present is None else [*parts, observation[present]]

    def init(key: PRNGKey) -> tuple[Params, Array]:
        observation = Sight(spec, names).blank()
        features, params = network.init_with_output(key, *arguments(observation))
        return params, features

    def encode(params: Params, observation: Observation) -> Array:
        return network.apply(params, *arguments(observation))

    return StateFeatures(init, encode)


def seen_names(config: FeaturesConfig, spec: ObservationSpec) -> tuple[str, ...]:
    """Names of what a prior sees of the present, and remembers of the past."""
    return config.observation or tuple(name for name in spec if name != HISTORY)


def history_of(config: Any, spec: ObservationSpec) -> History | None:
    """What a prior of this config remembers; None for nothing."""
    if not getattr(config, "history", 0):
        return None
    return History(seen_names(config, spec), config.history)


def _past(config: FeaturesConfig) -> tuple[str, ...]:
    return (HISTORY,) if config.history else ()


def broadcast_batch(event: Array, features: Array) -> tuple[Array, Array]:
    """Gives both arrays the batch axes that they have together."""
    batch_shape = jnp.broadcast_shapes(event.shape[:-1], features.shape[:-1])
    return (
        jnp.broadcast_to(event, (*batch_shape, event.shape[-1])),
        jnp.broadcast_to(features, (*batch_shape, features.shape[-1])),
    )


def _check(config: FeaturesConfig, who: str, spec: ObservationSpec) -> None:
    """Raises a `UserError` where the config does not fit the spec or itself."""
    check_observation("observation", who, config.observation, spec)
    names, things = seen_names(config, spec), config.set_observation
    if config.history and HISTORY not in spec:
        raise UserError(
            f"history={config.history} needs observations that remember; make the environment one "
            "of envs.wrappers.history.with_history, or leave it out"
        )
    if things and not set(things) < set(names):
        raise UserError(
            f"set_observation names {', '.join(things)}; it should name some, but not all, of what "
            f"{who} sees, which is {', '.join(names)}"
        )
    present = config.set_present
    if present is not None and (not things or present not in set(names) - set(things)):
        raise UserError(
            f"set_present={present} should be one of what {who} sees beside "
            f"set_observation, which is {', '.join(things) or 'none'}; it sees {', '.join(names)}"
        )
    if present is not None and len(spec[present].shape) != 1:
        raise UserError(f"set_present: {present} should have a single axis, that of the things")
    listed = things if present is None else (*things, present)
    counts = {spec[name].shape[:1] for name in listed}
    if len(counts) > 1 or () in counts:
        raise UserError(
            f"set_observation: {', '.join(listed)} should all list the same things along their "
            "first axis, but those differ in length"
        )
