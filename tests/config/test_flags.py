from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from absl import flags as absl_flags

from behavior_priors.config import flags
from behavior_priors.config.ranges import LearningRate, Limit, Range, Real, Width
from behavior_priors.errors import UserError


@dataclasses.dataclass(frozen=True)
class Inner:
    """A nested config.

    Attributes:
      rate: step size,
        in two lines.
      widths: units per layer.
    """

    rate: LearningRate = 3e-4
    widths: tuple[Width, ...] = (256, 256)


@dataclasses.dataclass(frozen=True)
class Outer:
    """One field of every type.

    Some prose: with a colon.

    Attributes:
      count: an int.
      scale: a float.
      name: a str.
      fast: a bool.
      mode: an enum.
      names: strings.
      scales: floats.
      limit: an optional float.
      label: an optional str.
      sizes: optional ints.
      choice: an optional enum.
      maybe: an optional bool.
      inner: another config.

    Further prose.
      indented: not an attribute.
    """

    count: Annotated[int, Range(least=-20)] = 1
    scale: Real = 1.0
    name: str = "a"
    fast: bool = True
    mode: Literal["auto", "c"] = "auto"
    names: tuple[str, ...] = ("x",)
    scales: tuple[Real, ...] = ()
    limit: Limit | None = 0.5
    label: str | None = "set"
    sizes: tuple[Width, ...] | None = (1,)
    choice: Literal["left", "right"] | None = "left"
    maybe: bool | None = True
    inner: Inner = dataclasses.field(default_factory=Inner)


@dataclasses.dataclass(frozen=True)
class Unranged:
    """Has numbers of which it does not say which.

    Attributes:
      a: some.
    """

    a: tuple[float, ...] | None = None


OTHER = Outer(
    count=-12,
    scale=-1.5e-7,
    name="two words, a comma and = sign",
    fast=False,
    mode="c",
    names=("a,b", ",", "c"),
    scales=(-0.1, 1e20, 3.0),
    limit=None,
    label=None,
    sizes=None,
    choice=None,
    maybe=None,
    inner=Inner(rate=0.1 + 0.2, widths=()),
)


def parse(*arguments: str, defaults: Outer | None = None) -> Outer:
    values = absl_flags.FlagValues()
    flags.define(Outer, defaults=defaults, flag_values=values)
    values(["program", *arguments])
    return flags.read(Outer, flag_values=values)


def test_no_arguments_give_the_defaults() -> None:
    assert parse() == Outer()
    assert parse(defaults=OTHER) == OTHER


def test_arguments_reach_their_fields() -> None:
    config = parse(
        "--count=-3",
        "--nofast",
        "--mode=c",
        "--names=a, b",
        "--limit=none",
        "--maybe=false",
        "--inner.rate=1e-2",
        "--inner.widths=8",
    )
    expected = Outer(
        count=-3,
        fast=False,
        mode="c",
        names=("a", "b"),
        limit=None,
        maybe=False,
        inner=Inner(rate=0.01, widths=(8,)),
    )
    assert config == expected
    assert type(config.inner.rate) is float


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a?goals=[[0,1],[2,3]],b", ("a?goals=[[0,1],[2,3]]", "b")),
        (r"a\,b,c[0],d", ("a,b", "c[0]", "d")),
        ("a[b,c", ("a[b", "c")),
        ("a]b,c[d", ("a]b", "c[d")),
        ("", ()),
    ],
)
def test_commas_in_brackets_are_of_the_part(text: str, names: tuple[str, ...]) -> None:
    config = parse(f"--names={text}")
    assert config.names == names


@pytest.mark.parametrize("config", [Outer(), OTHER])
@pytest.mark.parametrize("defaults", [Outer(), OTHER])
def test_text_restores_the_config_over_any_defaults(
    tmp_path: Path, config: Outer, defaults: Outer
) -> None:
    path = tmp_path / "flags.txt"
    path.write_text(flags.to_text(config))
    assert parse(f"--flagfile={path}", defaults=defaults) == config


def test_a_flagfile_is_read_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "flags.txt"
    path.write_text(f"# experiment: some\n{flags.to_text(OTHER)}")
    assert flags.read_file(Outer, path) == OTHER
    path.write_text("--gone=1\n")
    with pytest.raises(UserError, match=r"flags\.txt is not from this version: .*'gone'"):
        flags.read_file(Outer, path)


def test_text_is_sorted_and_spells_none() -> None:
    lines = flags.to_text(OTHER).splitlines()
    assert lines == sorted(lines)
    assert "--limit=none" in lines
    assert "--inner.widths=" in lines
    assert "--inner.rate=0.30000000000000004" in lines
    assert "--fast=false" in lines


def test_later_arguments_win_over_a_flagfile(tmp_path: Path) -> None:
    path = tmp_path / "preset.flags"
    path.write_text("# comment\n--count=4\n--inner.rate=0.5\n")
    config = parse(f"--flagfile={path}", "--count=5")
    assert (config.count, config.inner.rate) == (5, 0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "two\nlines"},
        {"name": "trailing "},
        {"label": "none"},
        {"names": ("",)},
        {"names": (" a",)},
        {"name": "w\u00a0x"},
        {"name": "a\ttab"},
        {"name": "w\udcffx"},
    ],
)
def test_what_a_flagfile_cannot_hold_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(change))}="):
        flags.to_text(dataclasses.replace(Outer(), **change))


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--count=1.5", "--count=1.5: expected an integer"),
        ("--scale=fast", "--scale=fast: expected a number"),
        ("--mode=warp", "--mode=warp: expected auto or c"),
        ("--maybe=2", "--maybe=2: expected true or false, or none"),
        (
            "--inner.widths=1,x",
            "--inner.widths=1,x: expected a list with commas, each an integer",
        ),
        ("--limit=None", "--limit=None: expected a number, or none"),
        ("--count=none", "--count=none: expected an integer"),
        ("--count=-21", "--count=-21: should be at least -20"),
        ("--scale=nan", "--scale=nan: should be a finite number"),
        ("--limit=-inf", "--limit=-inf: should be positive, or none"),
        ("--limit=2e6", "--limit=2e6: should be at most 1e+06, or none"),
        ("--scales=1,1e31", "--scales=1,1e31: should be at most 1e+30"),
        ("--inner.rate=1e-50", "--inner.rate=1e-50: should be positive"),
        ("--inner.widths=8,0", "--inner.widths=8,0: should be at least 1"),
    ],
)
def test_bad_values_name_the_flag_and_what_would_be_right(argument: str, expected: str) -> None:
    with pytest.raises(absl_flags.IllegalFlagValueError) as error:
        parse(argument)
    assert str(error.value) == f"flag {expected}"


def test_help_texts_come_from_the_docstring() -> None:
    values = absl_flags.FlagValues()
    flags.define(Outer, "outer", flag_values=values)
    assert values["outer.inner.rate"].help == "step size, in two lines."
    assert values["outer.maybe"].help == "an optional bool."
    assert values["outer.scale"].help == "a float."


@dataclasses.dataclass(frozen=True)
class Undocumented:
    """Says nothing about b.

    Attributes:
      a: documented.
    """

    a: Width = 1
    b: Width = 1


@dataclasses.dataclass(frozen=True)
class Unsupported:
    """Has a field that is no flag.

    Attributes:
      a: a dict.
    """

    a: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Required:
    """Has a field without a default.

    Attributes:
      a: must be given.
    """

    a: Width


def test_an_undocumented_field_is_an_error() -> None:
    with pytest.raises(TypeError, match="Undocumented documents no attribute `b`"):
        flags.define(Undocumented, flag_values=absl_flags.FlagValues())


def test_numbers_without_a_range_are_an_error() -> None:
    with pytest.raises(TypeError, match="`a` is of numbers without a range"):
        flags.define(Unranged, flag_values=absl_flags.FlagValues())


def test_a_default_outside_of_its_range_is_an_error() -> None:
    with pytest.raises(absl_flags.IllegalFlagValueError, match=r"--inner\.rate=-1\.0: .* positive"):
        parse(defaults=dataclasses.replace(Outer(), inner=Inner(rate=-1.0)))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("rate=0 should be positive", "--outer.inner.rate=0 should be positive"),
        ("widths and more", "--outer.inner.widths and more"),
        ("an action of size 1", "an action of size 1"),
        ("rates=0", "rates=0"),
        ("--other=1 is unknown", "--other=1 is unknown"),
    ],
)
def test_errors_are_named_after_the_field_that_they_begin_with(message: str, expected: str) -> None:
    with pytest.raises(UserError) as error, flags.naming("outer.inner", Inner()):
        raise UserError(message)
    assert str(error.value) == expected


def test_errors_about_the_value_of_one_flag_are_named_after_it() -> None:
    with pytest.raises(UserError) as error, flags.naming("names", ("x",)):
        raise UserError("'x' should be NAME=KEY")
    assert str(error.value) == "--names: 'x' should be NAME=KEY"


def test_an_unsupported_type_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"`a` .* cannot be a flag"):
        flags.define(Unsupported, flag_values=absl_flags.FlagValues())


def test_a_field_without_default_must_be_given() -> None:
    values = absl_flags.FlagValues()
    flags.define(Required, flag_values=values)
    values(["program"])
    with pytest.raises(UserError, match="--a is missing; give it the "):
        flags.read(Required, flag_values=values)
    values(["program", "--a=3"])
    assert flags.read(Required, flag_values=values) == Required(3)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "default"),
        (["--flagfile=flags/parrot/quick.flags"], "quick"),
        (["--flagfile", "flags/quick.flags", "--seed=1"], "quick"),
        (["--flagfile=a.flags", "-flagfile=b.flags"], "b"),
    ],
)
def test_preset_is_the_stem_of_the_last_flagfile(arguments: list[str], expected: str) -> None:
    assert flags.preset(["program", *arguments]) == expected
