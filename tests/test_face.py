"""The names that a user imports from the package itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import behavior_priors


def test_each_name_is_there_and_stands_where_it_is_said() -> None:
    assert {*behavior_priors._MODULES, "__version__"} == set(behavior_priors.__all__)
    assert len(behavior_priors._MODULES) == 16
    for name in behavior_priors._MODULES:
        value = getattr(behavior_priors, name)
        assert value.__module__.startswith("behavior_priors.")
        assert value.__name__ == name
        assert name in dir(behavior_priors)


def test_other_names_are_missed_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'make_sacks'"):
        _ = behavior_priors.make_sacks


def test_importing_the_package_takes_no_jax() -> None:
    code = "import sys, behavior_priors; sys.exit('jax' in sys.modules or 'flax' in sys.modules)"
    root = Path(behavior_priors.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_the_package_says_that_it_has_types() -> None:
    assert (Path(behavior_priors.__file__).parent / "py.typed").is_file()
