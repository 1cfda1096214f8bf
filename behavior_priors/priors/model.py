"""What a file of priors tells the registry about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from behavior_priors.types import ActionSpec, ObservationSpec, Prior, SkillModel


class Model(NamedTuple):
    """A model of old behaviour.

    Attributes:
      config: what it looks like by default, a frozen dataclass: its fields are the model's flags.
      make: `(config, observation_spec, action_spec) -> model`.
      fit: settings of its training that differ from those of a `FitConfig`, by name.
    """

    config: Any
    make: Callable[[Any, ObservationSpec, ActionSpec], Prior | SkillModel]
    fit: Mapping[str, Any] = {}
