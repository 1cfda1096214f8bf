"""Behaviour priors for reinforcement learning, in JAX: learn a new task from old behaviour."""

from behavior_priors.system import docstrings, xla

__version__ = "0.1.0"

docstrings.keep()
xla.mend()
