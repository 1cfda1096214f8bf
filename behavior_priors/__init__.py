"""Behaviour priors for reinforcement learning, in JAX: learn a new task from old behaviour."""

from behavior_priors import xla

__version__ = "0.1.0"

xla.mend()
