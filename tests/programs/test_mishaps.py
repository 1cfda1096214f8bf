from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from behavior_priors.errors import UserError
from behavior_priors.programs import mishaps
from behavior_priors.system import xla

ROOT = Path(mishaps.__file__).parents[2]

PROGRAM = """
import sys
import jax
if sys.argv.pop() == "late":
    jax.devices()
from behavior_priors.programs import entry

def main():
    print(jax.numpy.zeros(0, float).dtype, jax.config.jax_default_matmul_precision)

entry.run(main)
"""


def start(*arguments: str, **settings: str) -> tuple[int, str, list[str]]:
    without = {name: x for name, x in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**without, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "always", **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout, result.stderr.splitlines()


@pytest.mark.skipif(
    xla.mended_flags("", jax.lib.__version__) == "", reason="this jaxlib computes right sums"
)
def test_an_import_that_comes_too_late_is_warned_of_and_refused_by_programs() -> None:
    status, out, (warning, error) = start("late", JAX_PLATFORMS="cpu")
    assert (status, out) == (2, "")
    assert "RuntimeWarning: behavior_priors was imported after JAX had used a device" in warning
    assert error == f"error: {xla.TOO_LATE}"


def test_flags_that_were_set_in_time_need_no_warning() -> None:
    settings = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{xla.FLAG}="}
    assert start("late", **settings) == (0, "float32 highest\n", [])


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"JAX_ENABLE_X64": "1"}, "JAX_ENABLE_X64=True is set back to False: programs compute"),
        ({"JAX_DEBUG_NANS": "1"}, "JAX_DEBUG_NANS=True is set back to False: in metrics NaN says"),
        (
            {"JAX_NUMPY_DTYPE_PROMOTION": "strict"},
            "JAX_NUMPY_DTYPE_PROMOTION=strict is set back to standard: libraries that programs",
        ),
        ({"JAX_TRANSFER_GUARD": "disallow"}, "JAX_TRANSFER_GUARD=disallow is set back to allow:"),
    ],
)
def test_what_programs_cannot_run_with_is_set_back_and_said(
    settings: dict[str, str], note: str
) -> None:
    status, out, (line,) = start("early", JAX_PLATFORMS="cpu", **settings)
    assert (status, out) == (0, "float32 highest\n")
    assert line.startswith(f"note: {note}")


def test_what_only_starts_others_imports_no_jax() -> None:
    """It takes seconds, and a sweep's runs import it for themselves."""
    look = "import sys, launch.sweep; sys.exit('jax' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", look], cwd=ROOT, check=False)
    assert result.returncode == 0


def test_settings_are_those_that_jax_has() -> None:
    for name, (needed, _) in mishaps.SETTINGS.items():
        assert getattr(jax.config, name) in (needed, None), name


def test_a_platform_that_is_not_there_costs_one_line() -> None:
    status, out, (error,) = start("early", JAX_PLATFORMS="abacus")
    assert (status, out) == (2, "")
    assert error.startswith("error: JAX_PLATFORMS=abacus: ")
    assert error.endswith("; leave it out, or set it to cpu")


def test_a_jax_that_fails_without_a_word_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def devices() -> None:
        raise AssertionError

    monkeypatch.setattr(jax, "devices", devices)
    line = mishaps.explain(AssertionError(), {})
    assert line is not None
    assert "JAX finds no such device here; leave it out" in line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "full", "runs/x"), "no space left on device while writing runs/x"),
        (OSError(errno.EDQUOT, "full"), "no space left on device while writing a file"),
        (PermissionError(errno.EACCES, "not allowed", "run/x"), "--workdir=run/x: not allowed"),
        (IsADirectoryError(errno.EISDIR, "a folder", "data/x"), "data/x: a folder"),
        (FileNotFoundError(errno.ENOENT, "gone", "run/x"), "--workdir=run/x: gone"),
        (RuntimeError("RESOURCE_EXHAUSTED: 8 GB"), "out of memory (RESOURCE_EXHAUSTED: 8 GB); "),
        (ZeroDivisionError(), None),
    ],
)
def test_what_is_no_defect_of_a_program_costs_one_line(error: Exception, line: str | None) -> None:
    found = mishaps.explain(error, {"seed": 0, "data": "", "workdir": "run"})
    assert found == line or (line is not None and found is not None and found.startswith(line))


def test_programs_refuse_wrong_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xla, "complaint", "too late")
    with pytest.raises(UserError, match="too late"):
        mishaps.prepare_jax()


def test_products_are_of_full_precision_unless_the_user_has_another_word_on_them() -> None:
    asked = {"JAX_PLATFORMS": "cpu", "JAX_DEFAULT_MATMUL_PRECISION": "tensorfloat32"}
    assert start("early", **asked) == (0, "float32 tensorfloat32\n", [])
