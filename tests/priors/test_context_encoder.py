"""Context encoders: what may matter to them and what may not."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.priors.context_encoder import ContextConfig
from behavior_priors.priors.gru import GRUConfig
from behavior_priors.priors.registry import ENCODERS, find_encoder
from behavior_priors.types import ActionSpec, ArraySpec, Context, ContextEncoder, TaskBelief

SPEC = {"position": ArraySpec((2,)), "speed": ArraySpec((1,), scale=2.0)}
ACTION = ActionSpec(2)
SMALL = ContextConfig(latent_size=3, widths=(16, 16))
RECURRENT = GRUConfig(latent_size=3, widths=(16, 16), recurrent_width=8)
CONFIGS: dict[str, ContextConfig] = {"product_of_gaussians": SMALL, "gru": RECURRENT}
KINDS = [
    dataclasses.replace(CONFIGS[name], deterministic=deterministic)
    for name in ENCODERS
    for deterministic in (False, True)
]


def name_of(config: ContextConfig) -> str:
    return next(name for name, x in CONFIGS.items() if type(x) is type(config))


def make(config: ContextConfig) -> ContextEncoder:
    return find_encoder(name_of(config), flag="infer").make(config, SPEC, ACTION)


kinds = pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{name_of(c)}-{c.deterministic}")


def draw_context(key: jax.Array, *shape: int) -> Context:
    keys = jax.random.split(key, 6)
    normal = jax.random.normal
    return Context(
        observation={
            "position": normal(keys[0], (*shape, 2)),
            "speed": normal(keys[1], (*shape, 1)),
        },
        action=normal(keys[2], (*shape, 2)),
        reward=normal(keys[3], shape),
        next_observation={
            "position": normal(keys[4], (*shape, 2)),
            "speed": normal(keys[5], (*shape, 1)),
        },
        counts=jnp.ones(shape, bool),
    )


def same(ours: Any, theirs: Any, atol: float = 1e-5) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), ours, theirs)


def infer(config: ContextConfig, context: Context) -> TaskBelief:
    encoder = make(config)
    return encoder.infer(encoder.init(jax.random.key(1)), context)


@kinds
def test_batch_axes_are_the_callers(config: ContextConfig) -> None:
    context = draw_context(jax.random.key(0), 4, 2, 6)
    together = infer(config, context)
    assert together.mean.shape == together.variance.shape == (4, 2, 3)
    alone = infer(config, jax.tree.map(lambda x: x[3, 1], context))
    same(alone, jax.tree.map(lambda x: x[3, 1], together))


@kinds
def test_what_does_not_count_does_not_matter(config: ContextConfig) -> None:
    context = draw_context(jax.random.key(0), 6)
    masked = infer(config, context._replace(counts=jnp.arange(6) < 4))
    same(masked, infer(config, jax.tree.map(lambda x: x[:4], context)))


@kinds
def test_without_context_it_is_the_prior(config: ContextConfig) -> None:
    context = draw_context(jax.random.key(0), 6)
    belief = infer(config, context._replace(counts=jnp.zeros(6, bool)))
    doubt = 0.0 if config.deterministic else 1.0
    same(belief, TaskBelief(jnp.zeros(3), jnp.full(3, doubt)), atol=0.0)


@kinds
def test_more_experience_changes_the_belief(config: ContextConfig) -> None:
    context = draw_context(jax.random.key(0), 12)
    half = infer(config, jax.tree.map(lambda x: x[:6], context))
    whole = infer(config, context)
    assert float(jnp.abs(half.mean - whole.mean).max()) > 1e-3
    if name_of(config) == "product_of_gaussians" and not config.deterministic:
        assert bool((whole.variance < half.variance).all())


@pytest.mark.parametrize("encoder", list(ENCODERS))
def test_only_the_recurrent_one_minds_the_order(encoder: Any) -> None:
    config = CONFIGS[encoder]
    context = draw_context(jax.random.key(0), 6)
    backwards = jax.tree.map(lambda x: x[::-1], context)
    difference = jnp.abs(infer(config, context).mean - infer(config, backwards).mean).max()
    assert (float(difference) > 1e-3) == (encoder == "gru")


def test_nothing_is_carried_from_one_task_to_another() -> None:
    """The recurrent one gives the second of two tasks what it gives it alone, in any company."""
    encoder = make(RECURRENT)
    params = encoder.init(jax.random.key(1))
    first, second = (draw_context(jax.random.key(seed), 5) for seed in (2, 3))
    alone = encoder.infer(params, second)
    for companion in (first, second):
        both = jax.tree.map(lambda *x: jnp.stack(x), companion, second)
        same(jax.tree.map(lambda x: x[1], encoder.infer(params, both)), alone)


@pytest.mark.parametrize("sees", [True, False])
def test_next_observations_matter_where_they_are_asked_for(sees: bool) -> None:
    config = dataclasses.replace(SMALL, next_observation=sees)
    context = draw_context(jax.random.key(0), 6)
    moved = context._replace(next_observation=jax.tree.map(lambda x: x + 1, context.observation))
    difference = jnp.abs(infer(config, context).mean - infer(config, moved).mean).max()
    assert (float(difference) > 1e-3) == sees


def test_it_sees_what_it_is_given_the_names_of_and_the_reward() -> None:
    config = dataclasses.replace(SMALL, observation=("position",))
    encoder = make(config)
    params, context = encoder.init(jax.random.key(1)), draw_context(jax.random.key(0), 6)

    def total(context: Context) -> jax.Array:
        return encoder.infer(params, context).mean.sum()

    slope = jax.grad(total, allow_int=True)(context)
    assert float(jnp.abs(slope.observation["position"]).max()) > 0
    assert float(jnp.abs(slope.reward).max()) > 0
    np.testing.assert_array_equal(slope.observation["speed"], np.zeros((6, 1)))


def test_divergence_is_summed_and_a_description_without_doubt_has_none() -> None:
    """Mean 1 and variance 4 in each of three: 3 / 2 (4 + 1 - 1 - log 4)."""
    belief = TaskBelief(jnp.ones((2, 3)), jnp.full((2, 3), 4.0))
    doubting, certain = (make(dataclasses.replace(SMALL, deterministic=d)) for d in (False, True))
    np.testing.assert_allclose(doubting.divergence(belief), [1.5 * (4 - np.log(4))] * 2, rtol=1e-6)
    np.testing.assert_array_equal(certain.divergence(belief), [0.0, 0.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observation": ("positon",)}, "positon"),
        ({"latent_size": 0}, "latent_size=0 should be at least 1"),
        ({"widths": (8, 0)}, "widths"),
    ],
)
def test_bad_configs(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(dataclasses.replace(SMALL, **change))
