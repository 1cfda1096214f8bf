"""Text of files is marked, stays marked where it is copied, and asks before it does anything."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import pytest

from behavior_priors.config import flags
from behavior_priors.errors import UserError
from behavior_priors.system.trust import FromFile, allow_path, check_options

MARKED = FromFile("a:b", "flags.txt says --env=a:b, which", ("a",))


@dataclasses.dataclass(frozen=True)
class Inner:
    """A config.

    Attributes:
      folder: of something.
    """

    folder: str = "x"


@dataclasses.dataclass(frozen=True)
class Outer:
    """A config.

    Attributes:
      names: of things.
      other: text or none.
      inner: a config.
    """

    names: tuple[str, ...] = ("a", "b")
    other: str | None = None
    inner: Inner = dataclasses.field(default_factory=Inner)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_remember(again) -> None:
    copied = again(MARKED)
    assert isinstance(copied, FromFile)
    assert (copied, copied.said, copied.trust) == ("a:b", MARKED.said, ("a",))


def test_every_text_of_a_config_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "flags.txt"
    path.write_text("--names=u,v\n--other=w\n--inner.folder=f\n")
    config = flags.read_file(Outer, path, trust=("f",))
    assert config == Outer(("u", "v"), "w", Inner("f"))
    texts = [*config.names, config.other, config.inner.folder]
    assert all(isinstance(text, FromFile) for text in texts)
    assert allow_path(config.inner.folder) == Path("f")
    with pytest.raises(UserError) as error:
        allow_path(config.names[1])
    assert str(error.value) == (
        f"{path} says --names=u,v, which would read the folder v; a file may not do that by "
        "itself: if you know who wrote it and want that, add --trust=v"
    )


def test_what_the_user_says_is_a_path() -> None:
    assert allow_path("anywhere") == Path("anywhere")


@pytest.mark.parametrize(
    "options",
    [
        {"xml_file": "x"},
        {"render_mode": "/etc/passwd"},
        {"render_mode": "a.b"},
        {"goals": [[0, 1], [2, "x"]]},
        {"kwargs": {"a": 1}},
        {"path": b"x"},
    ],
)
def test_options_with_text_need_consent(options: dict[str, object]) -> None:
    (name,) = options
    with pytest.raises(UserError, match=rf"add --trust={name}$"):
        check_options(MARKED, options)
    check_options(FromFile("a:b", "it", (name,)), options)


def test_options_without_text_need_none() -> None:
    check_options(MARKED, {"goals": [[0, 1.5], [True, None]], "render_mode": "rgb_array", "n": 3})


def test_flagfiles_in_flagfiles_are_files(tmp_path: Path) -> None:
    from behavior_priors.config.flag_file import check_flag_files

    for name, content in {
        "a": "--flagfile=b\n",
        "b": "--x=1\n",
        "c": "--flagfile=/dev/zero\n",
    }.items():
        (tmp_path / name).write_text(content.replace("=b", f"={tmp_path}/b"))
    check_flag_files(["program", f"--flagfile={tmp_path}/a"])
    with pytest.raises(UserError, match=r"/c: --flagfile=/dev/zero is not a file"):
        check_flag_files(["program", "--flagfile", f"{tmp_path}/c"])
    with pytest.raises(UserError, match="--flagfile=/dev/zero is a device, which has no end"):
        check_flag_files(["program", "--flagfile=/dev/zero"])
    (tmp_path / "b").write_text("--x=1\n" * 300_000)
    with pytest.raises(UserError, match="/b is too large"):
        check_flag_files(["program", f"--flagfile={tmp_path}/a"])
