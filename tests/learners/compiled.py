"""Learners whose functions are compiled once for many tests."""

from __future__ import annotations

import functools

import jax

from behavior_priors.learner import Learner

# Compiling is nearly all that these tests do.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def compile_learner(learner: Learner) -> Learner:
    """The same functions, compiled."""
    act = quick_jit(learner.act, static_argnames="explore")
    return Learner(quick_jit(learner.init), quick_jit(learner.update), act)
