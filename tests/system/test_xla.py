"""Programs that jaxlib 0.10.2 gets wrong by itself, and what is compiled as users have it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from behavior_priors.system.xla import FLAG, is_in_use, mended_flags, sums_are_right
from tests.system.numbers import logarithms, numbers, squares


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
    np.testing.assert_allclose(logarithms(), 4 * np.log(3.0), rtol=1e-6)


def test_sums_of_squares_of_products_are_complete() -> None:
    assert squares()[-1] == 32_768.0**2


def test_what_the_tests_compile_computes_what_users_have() -> None:
    """The suite compiles with flags of its own; here is what it would hide."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_"))}
    said = subprocess.run(
        [sys.executable, "-m", "tests.system.numbers"],
        cwd=Path(__file__).parents[2],
        env=variables | {"JAX_PLATFORMS": "cpu"},
        check=True,
        capture_output=True,
    ).stdout
    theirs = json.loads(said)
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            ours = numbers()
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert len(expected) > 3
        np.testing.assert_allclose(ours[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_device_that_was_used_is_noticed_and_nothing_changed() -> None:
    devices = jax.devices()
    assert is_in_use()
    assert jax.devices() == devices
    assert jax.config.jax_num_cpu_devices == len(jax.devices("cpu"))


def test_sums_are_seen_to_be_right() -> None:
    assert sums_are_right()
