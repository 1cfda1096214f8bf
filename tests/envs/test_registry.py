"""Names and options of environments; what a user's own have to keep."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import pytest

from behavior_priors.envs.options import read_options
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.types import Array, State
from tests.envs import odd_family

OWN = "tests.envs.odd_family:"


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("a=1&b=2.5&c=true&d=None&e=text", {"a": 1, "b": 2.5, "c": True, "d": None, "e": "text"}),
        ("goals=[[0,1],[2,3]]", {"goals": [[0, 1], [2, 3]]}),
        ('at={"x":1}&name="007"', {"at": {"x": 1}, "name": "007"}),
        (
            "path=a%26b%3Dc%25&plus=a+b&equals=a=b",
            {"path": "a&b=c%", "plus": "a+b", "equals": "a=b"},
        ),
        ('unclosed="[1,2"&none=null&smile=(:', {"unclosed": "[1,2", "none": None, "smile": "(:"}),
        ("empty=", {"empty": ""}),
    ],
)
def test_options_are_read(query: str, options: dict[str, object]):
    assert read_options(query, "--env=x") == options


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("a", "options are written as in"),
        ("a=1&", "options are written as in"),
        ("a=1&a=2", "a is there twice"),
        ("a=nan", "a is not a number"),
        ("a=[1,NaN]", "a is not a number"),
        ("a=[1,2", r"a=\[1,2 should be JSON, such as .* has to be in .quotation marks"),
        ("a=(1, 2.5)", r"a=\(1, 2\.5\) should be JSON, such as \[\[0,1\],\[2,3\]\]"),
        ("a={'x': 1}", "should be JSON"),
    ],
)
def test_options_that_are_none_are_refused(query: str, message: str):
    with pytest.raises(UserError, match=message):
        read_options(query, "--env=x")


def test_an_environment_is_traced_once_whatever_programs_it_is_part_of(
    monkeypatch: pytest.MonkeyPatch,
):
    traced: list[int] = []

    def step(state: State, action: Array) -> State:
        traced.append(1)
        return odd_family.walk.step(state, action)

    monkeypatch.setitem(odd_family.MEMBERS, "right", lambda: odd_family.walk._replace(step=step))

    def still(*_: object) -> Array:
        return jnp.zeros(env.action_spec.size)

    env = make_env(f"{OWN}right")
    for episodes in (2, 3):
        program = functools.partial(rollout, env, still, episodes=episodes)
        jax.jit(program)(key=jax.random.key(0))
    assert len(traced) == 1  # and that was the contract's look at it


def test_options_come_as_their_types():
    made = make_env(f"{OWN}right?count=1e3&width=2&flag=true&label=7&any_=[1]")
    assert made.info["given"] == (1000, 2.0, True, "7", [1])
    assert isinstance(made.info["given"][1], float)
    # a flag that was not given is none, and one that was given none is not left out
    made = make_env(f"{OWN}right?any_=none", count=None, width=3.0)
    assert made.info["given"] == (1, 3.0, False, "", None)
    assert make_env(f"{OWN}right?width=none", width=3.0).info["given"][1] is None


@pytest.mark.parametrize("name", [f"{OWN}right", "maze/train", "kitchen/mixed", "point/dense"])
@pytest.mark.parametrize("value", ["0", "-1", "1e12", "nan", "inf", "1.5", "many", "true", "[3]"])
def test_no_family_takes_a_length_that_is_none(name: str, value: str):
    with pytest.raises(UserError) as caught:
        make_env(f"{name}?episode_length={value}")
    assert "episode_length" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("count=2.5", "count=2.5 should be a whole number"),
        (f"count={'9' * 400}", "count=9999.* should be a whole number up to 1000000000"),
        ("count=true", "count=True should be a whole number"),
        ("width=inf", "width=inf should be a finite number or none"),
        ("width=wide", "width=wide should be a finite number or none"),
        ("flag=1", "flag=1 should be true or false"),
        ("count=none", "count=None should be a whole number"),
        ("colour=none", "colour=None is no choice"),
        ("label=[1]", r"label=\[1\] should be text"),
        ("colour=red", "colour=red is no choice"),
    ],
)
def test_options_of_another_type_are_refused(query: str, message: str):
    with pytest.raises(UserError, match=message):
        make_env(f"{OWN}right?{query}")


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("nothing", "made a NoneType; it should be a behavior_priors.types.Env"),
        ("raises in make", r"making it raised ZeroDivisionError: .*odd_family.py:\d+"),
        ("raises in reset", r"reset raised ZeroDivisionError: .*odd_family.py:\d+"),
        ("raises in step", r"step raised ZeroDivisionError: .*odd_family.py:\d+"),
        ("tuple", "step gave a tuple; it should be a behavior_priors.types.State"),
        ("reward vector", r"step gave reward as float32 \(1,\); it should be one number"),
        ("reward none", "step gave reward as object .*it should be one number"),
        ("terminated float", r"step gave terminated as float32 \(\); .*one number of bool"),
        ("wide", r"step gave the observation time as float32 \(3,\); its spec has float32 \(1,\)"),
        ("whole", r"step gave the observation time as int32 \(1,\); its spec has float32 \(1,\)"),
        ("nameless", "reset gave an observation that is no dictionary"),
        ("lacking", "reset gave no observation goal; it gave action, time"),
        ("simulation", "step gave a state of other parts than reset"),
        ("scale", "scale of the observation time should not be 0"),
        ("location", "location of the observation time should be finite numbers that broadcast"),
        ("image", r"image of shape \(3, 16, 16\); it should be \(height, width, channels\)"),
        ("endless", "episode_length=0 should be at least 1"),
    ],
)
def test_an_environment_of_the_users_keeps_its_word(member: str, message: str):
    with pytest.raises(UserError, match=message) as caught:
        make_env(OWN + member)
    assert str(caught.value).startswith(OWN + member)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_thing.cube:", "there is no module no_such_thing; run where Python finds it"),
        ("gym/no_such_thing:cube", "there is no module no_such_thing; run where Python finds it"),
    ],
)
def test_modules_that_are_not_there_are_named(name: str, message: str):
    with pytest.raises(UserError, match=message):
        make_env(name)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("ogbench", r"no module ogbench; pip install 'behavior-priors\[ogbench\]'"),
        ("gymnasium_robotics", r"pip install 'behavior-priors\[kitchen\]'"),
        ("metaworld", "pip install 'metaworld'"),
        ("ale_py", "pip install 'ale-py'; its actions are discrete"),
        ("shimmy", r"pip install 'shimmy\[dm-control\]'"),
    ],
)
def test_packages_that_are_not_there_have_a_way(
    module: str, message: str, monkeypatch: pytest.MonkeyPatch
):
    import sys

    def missing(name: str, *_: object) -> None:
        if name.split(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    finder = type("Missing", (), {"find_spec": staticmethod(missing)})
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    for loaded in [m for m in sys.modules if m.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    for name in (f"{module}.cube:", f"gym/{module}:Some-v0"):
        with pytest.raises(UserError, match=message):
            make_env(name)
