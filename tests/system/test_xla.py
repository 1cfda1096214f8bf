"""Programs that jaxlib 0.10.2 gets wrong by itself."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.system.xla import FLAG, is_in_use, mended_flags, sums_are_right


@pytest.mark.parametrize(
    ("flags", "version", "expected"),
    [
        ("", "0.10.2", f"{FLAG}="),
        ("--xla_dump_to=x", "0.12.0.1", f"--xla_dump_to=x {FLAG}="),
        (f"{FLAG}=dot", "0.11.0", f"{FLAG}=dot"),
        ("", "0.10.1", ""),
        ("", "0.9.2", ""),
        ("--a", "0.13.0", "--a"),
    ],
)
def test_the_flag_is_set_where_it_is_known_and_needed(
    flags: str, version: str, expected: str
) -> None:
    assert mended_flags(flags, version) == expected


def test_logarithms_of_a_number_and_of_its_negative_are_two() -> None:
    half = jnp.full((1024, 4), 0.5)
    sums = jax.jit(lambda y: (jnp.log1p(y) - jnp.log1p(-y)).sum(-1))(half)
    np.testing.assert_allclose(sums, 4 * np.log(3.0), rtol=1e-6)


def test_sums_of_squares_of_products_are_complete() -> None:
    count = jnp.arange(32_769, dtype=jnp.float32)
    rows = jnp.stack([count, 0 * count, 0 * count], axis=1)
    squares = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)
    assert squares[-1] == 32_768.0**2


def test_a_device_that_was_used_is_noticed_and_nothing_changed() -> None:
    devices = jax.devices()
    assert is_in_use()
    assert jax.devices() == devices
    assert jax.config.jax_num_cpu_devices == len(jax.devices("cpu"))


def test_sums_are_seen_to_be_right() -> None:
    assert sums_are_right()
