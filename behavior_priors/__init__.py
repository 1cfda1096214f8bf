"""Behaviour priors for reinforcement learning, in JAX: learn a new task from old behaviour."""

__version__ = "0.1.0"
