"""What is wrong with a file costs one line that names it, and leaves nothing behind."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from behavior_priors.data.readers import ReadConfig, Selection, open_recording
from behavior_priors.data.readers.convert import ConvertOptions, convert
from behavior_priors.errors import UserError
from tests.data.readers.files import (
    Arrays,
    d4rl,
    minari,
    ogbench,
    robomimic,
    write_hdf5,
    write_npz,
)

Change = Callable[[Any], Any]


def refused(path: Path, *names: str, config: ReadConfig | None = None, **options: Any) -> None:
    """Converting stops with one line and without a trace."""
    before = set(path.parent.rglob("*"))

    def run() -> None:
        recording = open_recording(path, config, options.pop("format_name", "auto"))
        convert(recording, path.parent / "new" / "output", ConvertOptions(**options))

    with pytest.raises(UserError) as caught:
        run()
    message = str(caught.value)
    assert "\n" not in message
    assert [name for name in (path.name, *names) if name not in message] == [], message
    assert set(path.parent.rglob("*")) == before


def without(key: str) -> Change:
    return lambda arrays: arrays.pop(key)


def shorter(key: str) -> Change:
    return lambda arrays: arrays.update({key: arrays[key][:-1]})


def change(key: str, value: Any) -> Change:
    return lambda arrays: arrays.update({key: value})


def spoil(key: str, index: Any, value: float) -> Change:
    def run(arrays: Arrays) -> None:
        arrays[key] = np.array(arrays[key], np.float64)
        arrays[key][index] = value

    return run


OBJECTS = np.array([{"a": 1}] * 6, dtype=object)

TABLES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "no actions": (without("actions"), ("no 'actions'", "observations", "terminals")),
    "no terminals": (without("terminals"), ("no 'terminals'", "actions", "observations")),
    "no observations": (without("observations"), ("no 'observations'", "actions, terminals")),
    "fewer observations": (
        shorter("observations"),
        ("'observations' has 5 rows", "'actions' calls for 6"),
    ),
    "fewer actions": (shorter("actions"), ("has 6 rows", "'actions' calls for 5")),
    "fewer terminals": (shorter("terminals"), ("'terminals' has 5 rows", "calls for 6")),
    "fewer rewards": (change("rewards", np.zeros(5)), ("'rewards' has 5 rows", "calls for 6")),
    "rewards with columns": (change("rewards", np.zeros((6, 2))), ("'rewards'", "one number")),
    "no end": (change("terminals", np.zeros(6, bool)), ("'terminals'", "end of an episode")),
    "only ends": (change("terminals", np.ones(6, bool)), ("no complete episode", "6 no action")),
    "nothing": (
        lambda arrays: arrays.update({key: array[:0] for key, array in arrays.items()}),
        ("end of an episode",),
    ),
    "NaN": (
        spoil("observations", (4, 1), np.nan),
        ("'observations' holds nan in episode 1, row 1", "--drop_bad_episodes"),
    ),
    "NaN in the last observation": (
        spoil("observations", (5, 0), np.nan),
        ("'observations' holds nan in episode 1, row 2",),
    ),
    "infinite action": (
        spoil("actions", (1, 2), -np.inf),
        ("'actions' holds -inf in episode 0, row 1",),
    ),
    "too large for float32": (
        spoil("observations", (0, 1), 1e300),
        ("'observations' holds inf in episode 0, row 0",),
    ),
    "discrete actions": (change("actions", np.zeros((6, 1), np.int64)), ("'actions'", "discrete")),
    "actions in a grid": (change("actions", np.zeros((6, 2, 2))), ("'actions'", "vector")),
    "no action dimension": (change("actions", np.zeros((6, 0))), ("'actions'", "vector")),
    "complex": (change("observations", np.zeros((6, 2), complex)), ("'observations'", "complex")),
    "no entries": (change("observations", np.zeros((6, 0))), ("'observations' has no entries",)),
    "text": (change("observations", np.array(["a"] * 6)), ("'observations'", "numbers")),
}


def table() -> Arrays:
    return ogbench((2, 2))


@pytest.mark.parametrize("case", TABLES)
def test_npz(tmp_path: Path, case: str) -> None:
    arrays, (make_bad, names) = table(), TABLES[case]
    make_bad(arrays)
    refused(write_npz(tmp_path / "bad.npz", arrays), *names)


@pytest.mark.parametrize("key", ["observations", "actions", "terminals", "rewards"])
def test_nothing_is_unpickled(tmp_path: Path, key: str) -> None:
    path = write_npz(tmp_path / "bad.npz", {**table(), key: OBJECTS})
    refused(path, f"'{key}' holds Python objects", "not loaded", "array of numbers")


def test_objects_that_are_not_wanted_do_no_harm(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "good.npz", {**table(), "notes": OBJECTS, "comment": "hello"})
    assert convert(open_recording(path), tmp_path / "output").num_episodes == 2


def test_d4rl(tmp_path: Path) -> None:
    for change_, names in (
        (without("terminals"), ("no 'terminals'", "timeouts")),
        (shorter("next_observations"), ("'next_observations' has 4 rows", "calls for 5")),
        (shorter("timeouts"), ("'timeouts' has 4 rows", "calls for 5")),
        (change("next_observations", np.zeros((5, 3))), ("'next_observations'", "float32[2]")),
        (spoil("rewards", 4, np.nan), ("'rewards' holds nan in episode 1, row 1",)),
        (
            spoil("next_observations", (4, 0), np.inf),
            ("'observations' holds inf in episode 1, row 2",),
        ),
    ):
        arrays = d4rl((3, 2), (False, True))
        change_(arrays)
        refused(write_hdf5(tmp_path / "bad.hdf5", arrays), *names)


def of_demo(number: int, change_: Change) -> Change:
    return lambda demos: change_(demos[f"data/demo_{number}"])


def test_robomimic(tmp_path: Path) -> None:
    for change_, names in (
        (of_demo(0, without("actions")), ("'data/demo_0/actions'", "obs/hand")),
        (of_demo(1, without("actions")), ("'data/demo_1/actions'", "data/demo_1/obs/hand")),
        (of_demo(1, without("obs/hand")), ("'data/demo_1/obs/hand'", "data/demo_1/actions")),
        (of_demo(1, shorter("obs/hand")), ("'data/demo_1/obs/hand' has 1 rows", "calls for 2")),
        (of_demo(1, shorter("rewards")), ("'data/demo_1/rewards' has 1 rows", "calls for 2")),
        (
            of_demo(1, change("actions", np.zeros((2, 4)))),
            ("'data/demo_1/actions' are float64[4]", "float64[3]"),
        ),
        (
            of_demo(1, spoil("obs/hand", (1, 0), np.nan)),
            ("'obs/hand' holds nan in data/demo_1, row 1",),
        ),
    ):
        demos = robomimic((3, 2))
        change_(demos)
        refused(write_hdf5(tmp_path / "bad.hdf5", demos), *names)


def of_episode(number: int, change_: Change) -> Change:
    return lambda episodes: change_(episodes[f"episode_{number}"])


def test_minari(tmp_path: Path) -> None:
    for change_, names in (
        (of_episode(0, without("actions")), ("'episode_0/actions'", "observations")),
        (of_episode(0, without("observations")), ("'episode_0/observations'", "actions")),
        (of_episode(0, without("terminations")), ("'episode_0/terminations'", "truncations")),
        (of_episode(1, without("terminations")), ("'episode_1/terminations'", "truncations")),
        (
            of_episode(1, shorter("observations")),
            ("'episode_1/observations' has 2 rows", "calls for 3"),
        ),
        (of_episode(1, shorter("rewards")), ("'episode_1/rewards' has 1 rows", "calls for 2")),
        (of_episode(1, change("observations", np.zeros((3, 5)))), ("float64[5]", "float64[2]")),
        (
            of_episode(1, spoil("observations", (2, 0), np.nan)),
            ("'observations' holds nan in episode_1, row 2",),
        ),
    ):
        episodes = minari((3, 2), (False, True))
        change_(episodes)
        refused(write_hdf5(tmp_path / "main_data.hdf5", episodes), *names)


def test_text_in_hdf5(tmp_path: Path) -> None:
    episodes = minari((1, 1), (False, False))
    for episode in episodes.values():
        episode["observations/hand"] = episode.pop("observations")
        episode["observations/order"] = np.array(["take", "give"], dtype=h5py.string_dtype())
    path = write_hdf5(tmp_path / "main_data.hdf5", episodes)
    assert open_recording(path).observation.keys() == {"hand"}
    assert "'observations/order' is left out, it holds no numbers" in open_recording(path).notes
    config = ReadConfig(observation=(Selection("order", "observations/order"),))
    refused(path, "order' holds Python objects, text or", "array of numbers", config=config)
    wanted = ReadConfig(observation=(Selection.parse("hand"),))
    assert convert(open_recording(path, wanted), tmp_path / "output").num_episodes == 2


def test_files_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    refused(path, "no such file")
    path.write_bytes(b"")
    refused(path, "is empty")
    path.write_text("observations, actions")
    refused(path, "neither a .npz nor an HDF5 file")
    refused(path, "is no HDF5 file", format_name="d4rl")
    with pytest.raises(UserError, match="'hdf5' is unknown; use auto or npz, d4rl, robomimic, m"):
        open_recording(path, format_name="hdf5")
    write_npz(path, {})
    refused(path, "bad.npz")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "is an empty folder", "folder of a Minari or LeRobot dataset")
    refused(tmp_path / "folder", "a robomimic recording is a file", format_name="robomimic")
    refused(tmp_path / "folder", "data/main_data.hdf5", format_name="minari")
    refused(write_hdf5(tmp_path / "a.hdf5", {}), "no known layout", "has nothing")
    refused(
        write_hdf5(tmp_path / "b.hdf5", {"data/x": np.zeros(3)}), "data/demo_0", "episode_0", "data"
    )
    for format_name, key in (("robomimic", "'data'"), ("minari", "'episode_0'")):
        path = write_hdf5(tmp_path / "c.hdf5", d4rl((2,), (True,)))
        refused(path, f"no {key}", "actions", format_name=format_name)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("layout", ["npz", "hdf5"])
def test_truncated(tmp_path: Path, layout: str, share: float) -> None:
    path = tmp_path / f"bad.{layout}"
    if layout == "npz":
        write_npz(path, ogbench((30, 40)))
    else:
        write_hdf5(path, d4rl((30, 40), (False, True)))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path, "truncated or damaged")


def test_a_flipped_bit_in_an_archive(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "bad.npz", ogbench((30, 40)), compressed=False)
    content = bytearray(path.read_bytes())
    content[content.index(b"actions.npy") + 400] ^= 1
    path.write_bytes(content)
    refused(path, "truncated or damaged", "CRC")


def test_a_damaged_block_of_hdf5(tmp_path: Path) -> None:
    arrays, path = d4rl((300, 400), (False, True)), tmp_path / "bad.hdf5"
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            size = (100, *array.shape[1:])
            file.create_dataset(key, data=array, chunks=size, compression="gzip", fletcher32=True)
        block = file["actions"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[block.byte_offset + block.size // 2] ^= 255
    path.write_bytes(content)
    refused(path, "truncated or damaged")


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", d4rl((2,), (True,)))
    monkeypatch.setitem(sys.modules, "h5py", None)
    for format_name in ("auto", "d4rl", "robomimic", "minari"):
        refused(path, "h5py", "pip install 'behavior-priors[hdf5]'", format_name=format_name)
    archive = write_npz(tmp_path / "a.npz", table())
    assert convert(open_recording(archive), tmp_path / "output").num_episodes == 2


def test_a_full_disk(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", ogbench((300, 400)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(UserError) as caught:
            convert(open_recording(path), tmp_path / "new" / "output")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    place = tmp_path / "new" / "output"
    assert str(caught.value) == (
        f"{place}: cannot be written (File too large); free some space and convert again"
    )
    assert list(tmp_path.iterdir()) == [path]


def test_selections(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", {**table(), "qpos": np.zeros((6, 7)), "t": np.zeros(6)})
    for texts, names in (
        (("hand=nope",), ("no observation 'nope'", "observations, qpos, t")),
        (("a=qpos[0:8]",), ("no columns 0:8", "0:7")),
        (("a=qpos[3:3]",), ("no columns 3:3", "0:7")),
        (("a=qpos[7:]",), ("no columns 7:7", "0:7")),
        (("a=t[0:1]",), ("'t' is one number a row",)),
        (("a=qpos", "a=observations"), ("two observations", "'a'")),
        (("a=terminals",), ("no observation 'terminals'",)),
    ):
        refused(path, *names, config=ReadConfig(observation=tuple(map(Selection.parse, texts))))
    for text in ("", "=qpos", "a=", "a=b=c", "a=qpos[1]", "a=qpos[x:y]", "a=qpos[0:1", "a=q[-1:]"):
        with pytest.raises(UserError, match=r"NAME=KEY\[START:STOP\]"):
            Selection.parse(text)


def test_the_output_is_taken(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", table())
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").write_text("kept")
    before = set(tmp_path.rglob("*"))
    for place, words in (("there", "not empty"), ("there/file", "not empty"), ("a.npz/x", "place")):
        with pytest.raises(UserError, match=words):
            convert(open_recording(path), tmp_path / place)
    assert set(tmp_path.rglob("*")) == before
    assert (tmp_path / "there/file").read_text() == "kept"
