"""Methods are values: one table names them, and nothing else knows their names."""

from __future__ import annotations

import ast

import pytest

from behavior_priors.learners.registry import (
    LEARNERS,
    find_learner,
    find_meta_learner,
)
from behavior_priors.methods.method import LABELS, METHODS, THROUGH_PRIOR, WAYS, Method
from behavior_priors.methods.settings import MANY, every_section, method_sections
from behavior_priors.priors.registry import ENCODERS, MODELS, find_encoder, find_model
from tests.test_imports import ROOT, sources

TABLES = ("behavior_priors/methods/method.py", "behavior_priors/methods/presets.py")


def compared_words(source: str) -> set[str]:
    """Texts that a source compares something with, or looks something up among."""
    words = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            inner = (x for side in sides for x in ast.walk(side))
            words |= {x.value for x in inner if isinstance(x, ast.Constant)}
        if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant):
            words.add(node.value.value)
    return {word for word in words if isinstance(word, str)}


def test_no_method_is_compared_outside_of_the_table() -> None:
    names = METHODS.keys() - LEARNERS.keys()
    found = {}
    for path in sources():
        place = str(path.relative_to(ROOT))
        words = compared_words(path.read_text()) & names
        if words and place not in TABLES and not place.startswith("benchmarks"):
            found[place] = words
    assert found == {}


def test_a_comparison_is_found() -> None:
    source = "if x == 'spirl' or y in ('ssp', other): pass\nz = 'sac'\nassert w != 'a'"
    assert compared_words(source) == {"spirl", "ssp", "a"}


def test_every_method_has_a_name_for_people_and_parts_that_there_are() -> None:
    assert METHODS.keys() <= LABELS.keys()
    for method in METHODS.values():
        for way, name in method.parts():
            find_model(name, flag=way)
        if method.infer is not None:
            find_encoder(method.infer, flag="infer")
            find_meta_learner(method.learner, flag="learner")
            continue
        kind = find_learner(method.learner, flag="learner")
        needed = {"prior": method.close_to, "start": method.start_from}
        assert {what for what, part in needed.items() if part is not None} <= set(kind.takes)


def test_parts_are_what_has_to_be_learned() -> None:
    method = Method(through="skill_vae", close_to=THROUGH_PRIOR, start_from="gaussian")
    assert method.parts() == (("through", "skill_vae"), ("start_from", "gaussian"))
    assert Method().parts() == ()


def test_flags_of_all_parts_have_names_of_their_own() -> None:
    """A model, its training, a learner and a method that are called alike would share flags."""
    fits = [f"{name}_fit" for name in MODELS]
    methods = [n for n, x in METHODS.items() if method_sections(n, x)]
    names = [*MODELS, *fits, *ENCODERS, *LEARNERS, *MANY, "loop", "on_policy", *methods]
    assert len(names) == len(set(names))
    assert set(every_section()) == set(names)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_what_its_paper_says(name: str) -> None:
    ways: dict[str, dict[str, str]] = {
        "own": {},
        "sac": {},
        "parrot": {"through": "real_nvp"},
        "parrot_spline": {"through": "spline"},
        "hirl": {"through": "conditional_vae"},
        "dsrl": {"through": "flow_matching"},
        "prior_explore": {"explore_with": "real_nvp"},
        "traj_rl": {"through": "trajectory_vae"},
        "ssp": {"through": "skill_vae"},
        "spirl": {
            "through": "skill_vae",
            "close_to": THROUGH_PRIOR,
            "start_from": THROUGH_PRIOR,
        },
        "flat_prior": {"close_to": "gaussian", "start_from": "gaussian"},
        "bc_sac": {"start_from": "gaussian"},
        "bc_ppo": {"start_from": "gaussian", "learner": "ppo"},
        "pearl": {"infer": "product_of_gaussians"},
    }
    nothing: dict[str, str | None] = {**dict.fromkeys(WAYS), "learner": "sac"}
    assert {way: getattr(METHODS[name], way) for way in WAYS} == nothing | ways[name]
