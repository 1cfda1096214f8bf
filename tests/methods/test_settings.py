"""Methods as a command line chooses them, and the parts that it changes in them."""

from __future__ import annotations

import pytest

from behavior_priors.errors import UserError
from behavior_priors.methods.method import METHODS
from behavior_priors.methods.settings import ExperimentConfig, chosen_methods


def test_a_learner_alone_stays_what_others_are_compared_with() -> None:
    config = ExperimentConfig(methods=("parrot", "sac"), through="spline")
    methods = chosen_methods(config)
    assert methods["parrot"].through == "spline"
    assert methods["sac"] == METHODS["sac"]
    both = chosen_methods(
        ExperimentConfig(methods=("hirl", "sac"), through="spline", learner="td3")
    )
    assert {name: (x.through, x.learner) for name, x in both.items()} == {
        "hirl": ("spline", "td3"),
        "sac": (None, "td3"),
    }


def test_a_learner_alone_has_no_part_to_change() -> None:
    with pytest.raises(UserError, match=r"--methods=sac has no part .*=own"):
        chosen_methods(ExperimentConfig(methods=("sac",), through="spline"))


def test_what_is_none_is_left_out() -> None:
    (method,) = chosen_methods(ExperimentConfig(methods=("parrot",), through="none")).values()
    assert method.through is None
