"""Calls from compiled programs to the host by name."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs import named_calls
from behavior_priors.envs.host_calls import call_host
from behavior_priors.envs.named_calls import call_named, can_call_named
from tests.compiler import fast_flags

NUMBER = jax.ShapeDtypeStruct((), jnp.float32)


def test_this_jaxlib_takes_calls_by_name() -> None:
    assert can_call_named()


def test_nested_vmaps_are_one_call_and_equal_calls_are_made_once() -> None:
    shapes = []

    def add_one(words: np.ndarray) -> np.ndarray:
        shapes.append(words.shape)
        return words[..., 0] + 1

    def twice(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        one, other = (call_host(add_one, x, NUMBER, name="tests/add_one") for _ in range(2))
        return one, other

    x = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    one, other = jax.jit(jax.vmap(jax.vmap(twice)))(x)
    np.testing.assert_array_equal(one, x[..., 0] + 1)
    np.testing.assert_array_equal(other, one)
    assert shapes == [(2, 3, 1)]


def test_an_answer_of_another_shape_than_the_argument_is_written_whole() -> None:
    def outer(words: np.ndarray) -> np.ndarray:
        return words[..., :, None] * words[..., None, :]

    x = jnp.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    call = jax.jit(jax.vmap(lambda x: call_named("tests/outer", outer, x, (3, 3))))
    np.testing.assert_array_equal(call(x)[1], [[16, 20, 24], [20, 25, 30], [24, 30, 36]])


def test_what_the_function_raises_is_raised() -> None:
    def fail(words: np.ndarray) -> np.ndarray:
        raise ValueError("it has no legs")

    call = jax.jit(lambda x: call_named("tests/fail", fail, x, ()))
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"Traceback[\s\S]*it has no legs"):
        jax.block_until_ready(call(jnp.zeros(1)))


def test_an_answer_of_the_wrong_shape_is_an_error_and_not_read() -> None:
    call = jax.jit(
        lambda x: call_named("tests/short", lambda words: np.zeros(2, np.float32), x, (3,))
    )
    with pytest.raises(jax.errors.JaxRuntimeError, match="broadcast"):
        jax.block_until_ready(call(jnp.zeros(1)))


def test_what_was_not_written_is_not_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when Ctrl-C comes between XLA's call and the function's first line."""
    monkeypatch.setattr(named_calls, "_EXECUTE", -1)
    call = jax.jit(lambda x: call_named("tests/unwritten", lambda words: words, x, (4,)))
    assert np.isnan(call(jnp.zeros(4))).all()


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="int32 and should be float32"):
        call_named("tests/integers", lambda words: words, jnp.zeros(1, jnp.int32), (1,))


PROGRAM = """
    import sys
    import jax, jax.monitoring, jax.numpy as jnp
    from behavior_priors.envs.named_calls import call_named

    hits = []
    jax.monitoring.register_event_listener(
        lambda event, **_: hits.append(event) if event.endswith("/cache_hits") else None
    )
    add = float(sys.argv[1])
    x = jnp.ones(3)
    hits.clear()
    call = jax.jit(lambda x: call_named("tests/add", lambda words: words + add, x, (3,)))
    print(call(x).tolist(), len(hits))
"""


def test_a_program_kept_on_disk_calls_the_function_of_the_process_that_it_is_in(tmp_path) -> None:
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": fast_flags(),
    }
    printed = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), add],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for add in ("1", "2")
    ]
    assert printed == ["[2.0, 2.0, 2.0] 0", "[3.0, 3.0, 3.0] 1"]
