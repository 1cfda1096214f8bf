"""Configs of experiments, as a command line makes them."""

from __future__ import annotations

from absl import flags as absl_flags

from behavior_priors.config import flags
from behavior_priors.methods.command_line import Preset, declare
from behavior_priors.methods.settings import ExperimentConfig, config_class


def config_of(preset: Preset, *arguments: str) -> ExperimentConfig:
    """What a preset makes of the arguments of a command line."""
    values = absl_flags.FlagValues()
    values(declare(preset, ["program", *arguments], values))
    chosen = config_class(flags.read(ExperimentConfig, flag_values=values))
    return flags.read(chosen, flag_values=values)
