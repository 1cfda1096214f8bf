"""Runs, checkpoints, datasets and sweeps as somebody who means harm would hand them on.

Each case spoils a copy of a sound folder and says which program's function then meets it, and what
that answers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.hostile.spoil import (
    DEEP,
    HUGE,
    both,
    edit,
    empty,
    flag,
    in_checkpoint,
    insert,
    link,
    misname,
    pipe,
    point_data_outside,
    save,
    sealed,
    write,
)


class Case(NamedTuple):
    """Something hostile.

    Attributes:
      name: of the case.
      base: the sound folder that it begins with, a fixture's name for it.
      spoil: `(folder, outside)`, where `outside` is a folder with `secret` and `pipe`.
      says: in the refusal.
    """

    name: str
    base: str
    spoil: Callable[[Path, Path], None]
    says: str


ORBAX = "arrays/state/_METADATA"
TRUST = "add --trust="

CASES = (
    # a run's flags
    Case(
        "method",
        "run",
        flag("--methods=../run/sac", "methods"),
        r"flags\.txt: --methods=\.\./run/sac is unknown",
    ),
    Case("module", "run", flag("--env=stranger.evil:x", "env"), f"{TRUST}stranger.evil$"),
    Case("gym module", "run", flag("--env=gym/stranger.evil:X-v0", "env"), f"{TRUST}stranger.evil"),
    Case(
        "entry point",
        "run",
        flag("--env=gym/Pendulum-v1?entry_point=stranger.evil:X", "env"),
        f"{TRUST}entry_point",
    ),
    Case(
        "entry point in vectors",
        "run",
        flag("--env=gym/Pendulum-v1?vector_entry_point=stranger.evil:X", "env"),
        f"{TRUST}vector_entry_point",
    ),
    Case(
        "file option",
        "run",
        flag("--env=gym/Ant-v5?xml_file=OUTSIDE/secret", "env"),
        f"{TRUST}xml_file",
    ),
    Case(
        "encoded option",
        "run",
        flag("--env=gym/Ant-v5?xml%5Ffile=%2Fetc%2Fpasswd", "env"),
        f"{TRUST}xml_file",
    ),
    Case(
        "option of the maker",
        "run",
        flag("--env=gym/Pendulum-v1?id_=stranger.evil:X", "env"),
        "id_=stranger.evil:X is no choice|add --trust=id_",
    ),
    Case(
        "option called options",
        "run",
        flag("--env=gym/Pendulum-v1?options=stranger.evil", "env"),
        f"{TRUST}options",
    ),
    Case(
        "path as reward",
        "run",
        both(flag("--reward=OUTSIDE/secret", "reward"), flag("--env=gym/Pendulum-v1", "env")),
        f"{TRUST}reward",
    ),
    Case(
        "shell words",
        "run",
        flag("--env=gym/a;touch CANARY:X-v0", "env"),
        r"add --trust='a;touch CANARY'",
    ),
    Case("long name", "run", flag(f"--env={'x' * 300}/y", "env"), "is unknown"),
    Case("flagfile of a device", "run", flag("--flagfile=/dev/zero"), "is no flag of a run"),
    Case("flagfile", "run", flag("--flagfile=OUTSIDE/secret"), "is no flag of a run"),
    Case("undefok", "run", flag("--undefok=anything"), "is no flag of a run"),
    Case("help", "run", flag("--help"), "is no flag of a run"),
    Case("single dash", "run", flag("-flagfile=OUTSIDE/secret"), "is not --name=value"),
    Case("program text", "run", flag("import os; os.abort()"), "is not --name=value"),
    Case("unknown flag", "run", flag("--nonsense=1"), "not from this version"),
    Case("flag twice", "run", flag("--env=grasp/mug"), "gives the flag again"),
    Case("seed of many digits", "run", flag(f"--seed={'9' * 5000}", "seed"), "seed"),
    Case("terminal", "run", flag("--nonsense=\x1b]0;owned\x07"), "characters that are no text"),
    Case("null byte", "run", flag("--reward=a\0b", "reward"), "characters that are no text"),
    Case("owner", "run", write("flags.txt", "# experiment: __import__('os')\n"), "but of unknown"),
    Case("flags of a device's size", "run", write("flags.txt", b"--a=1\n" * 500_000), "too large"),
    Case("flags in binary", "run", write("flags.txt", b"\xff\xfe\x00"), "is not text"),
    Case("flags by link", "run", link("flags.txt"), "flags.txt is a link"),
    Case("flags from a pipe", "run", pipe("flags.txt"), "no flags.txt|neither a file"),
    Case(
        "skills elsewhere", "spirl", flag("--through=OUTSIDE/moved", "through"), f"{TRUST}.*/moved"
    ),
    Case(
        "model by module", "spirl", flag("--through=stranger.evil:x", "through"), f"{TRUST}stranger"
    ),
    Case(
        "prior by module",
        "spirl",
        flag("--close_to=stranger.evil:x", "close_to"),
        f"{TRUST}stranger",
    ),
    Case(
        "learner by module", "run", flag("--learner=stranger.evil:x", "learner"), f"{TRUST}stranger"
    ),
    # a run's folder
    Case("folder by link", "run", link("sac"), "sac is a link"),
    Case("checkpoints by link", "run", link("sac/checkpoints"), "checkpoints is a link"),
    Case(
        "overwriting by link",
        "run",
        link(".partial-evaluation.json"),
        "partial-evaluation.json is a link",
    ),
    Case("videos by link", "run", link("videos/sac.mp4"), "sac.mp4 is a link"),
    Case("pipe for a file", "run", pipe(".partial-evaluation.json"), "neither a file nor a folder"),
    # checkpoints
    Case(
        "manifest without files",
        "run",
        in_checkpoint(write("manifest.json", "{}")),
        "does not belong there",
    ),
    Case(
        "manifest as a list",
        "run",
        in_checkpoint(write("manifest.json", "[]")),
        "should be an object",
    ),
    Case(
        "manifest of text",
        "run",
        in_checkpoint(edit("manifest.json", **{"metadata.json": "x"})),
        "should be an integer",
    ),
    Case("manifest nested", "run", in_checkpoint(write("manifest.json", DEEP)), "nested too deep"),
    Case(
        "manifest too large",
        "run",
        in_checkpoint(write("manifest.json", " " * (17 << 20))),
        "too large",
    ),
    Case(
        "manifest by link", "run", in_checkpoint(link("manifest.json")), "manifest.json is a link"
    ),
    Case(
        "manifest leads out",
        "run",
        in_checkpoint(edit("manifest.json", **{"../../../flags.txt": 0})),
        "flags.txt is missing",
    ),
    Case(
        "manifest leads far",
        "run",
        in_checkpoint(edit("manifest.json", **{"/etc/passwd": 0})),
        "passwd is missing",
    ),
    Case(
        "long digits",
        "run",
        in_checkpoint(write("manifest.json", f'{{"metadata.json": {HUGE}}}')),
        "64 bits",
    ),
    Case("no leaves", "run", sealed(edit("metadata.json", leaves=None)), "'leaves' is missing"),
    Case("leaves as a list", "run", sealed(edit("metadata.json", leaves=[])), "'leaves' is"),
    Case("another step", "run", sealed(edit("metadata.json", step=7)), "is of step 7"),
    Case("keys twice", "run", sealed(insert("metadata.json", '"step": 1')), "'step' twice"),
    Case("not a number", "run", sealed(insert("metadata.json", '"x": NaN')), "NaN"),
    Case("arrays by link", "run", sealed(link("arrays/state/manifest.ocdbt")), "ocdbt is a link"),
    Case("data by link", "run", sealed(link("arrays/state/d/" + "0" * 32)), "is a link"),
    Case("pipe in arrays", "run", in_checkpoint(pipe("arrays/state/x")), "neither a file"),
    Case("other format", "run", sealed(write("arrays/state/.zarray", "{}")), "does not belong"),
    Case("other format, said", "run", sealed(edit(ORBAX, use_ocdbt=False)), "another format"),
    Case(
        "base elsewhere",
        "run",
        sealed(edit(ORBAX, kvstore={"driver": "http", "base": "http://localhost:1/"})),
        "base, driver, kvstore",
    ),
    Case(
        "driver in metadata",
        "run",
        sealed(
            edit("arrays/_CHECKPOINT_METADATA", custom_metadata={"driver": "file", "path": "/etc"})
        ),
        "by driver, path",
    ),
    Case("tree nested", "run", sealed(write("arrays/state/_sharding", DEEP)), "nested too deep"),
    Case("data above", "run", sealed(point_data_outside), "cannot be read"),
    Case(
        "garbage",
        "run",
        sealed(write("arrays/state/manifest.ocdbt", b"\0" * 100)),
        "cannot be read",
    ),
    Case("no data", "run", sealed(empty), "cannot be read"),
    Case("superscript", "run", misname, "holds no checkpoint"),
    # what a dataset says
    Case(
        "environment",
        "dataset",
        edit("metadata.json", environment="stranger.evil:x"),
        f"{TRUST}stranger.evil",
    ),
    Case(
        "gym environment",
        "dataset",
        edit("metadata.json", environment="gym/stranger.evil:X-v0"),
        f"{TRUST}stranger.evil",
    ),
    Case(
        "environment's file",
        "dataset",
        edit("metadata.json", environment="gym/Ant-v5?xml_file=/etc/passwd"),
        f"{TRUST}xml_file",
    ),
    Case(
        "other environment",
        "dataset",
        edit("metadata.json", environment="point/dense"),
        "not those of point/dense",
    ),
    Case(
        "scenes",
        "dataset",
        edit("metadata.json", environment="blocks/train", scenes=[1]),
        "scenes are not those",
    ),
    Case("action size", "dataset", edit("metadata.json", action_size=-1), "action_size"),
    Case(
        "dtype",
        "dataset",
        edit("metadata.json", observation={"pose": {"shape": [3], "dtype": "f4,("}}),
        "has the dtype",
    ),
    Case(
        "dtype of objects",
        "dataset",
        edit("metadata.json", observation={"pose": {"shape": [3], "dtype": "O"}}),
        "has the dtype",
    ),
    Case(
        "negative shape",
        "dataset",
        edit("metadata.json", observation={"pose": {"shape": [-3], "dtype": "float32"}}),
        "no array can have",
    ),
    Case(
        "large shape",
        "dataset",
        edit("metadata.json", observation={"pose": {"shape": [10**12], "dtype": "float32"}}),
        "no array can have",
    ),
    Case(
        "totals of text",
        "dataset",
        edit("metadata.json", totals={"num_shards": "x", "num_episodes": 1, "num_steps": 1}),
        "num_shards",
    ),
    Case("more totals", "dataset", edit("metadata.json", complete=False), "'totals'"),
    Case("no seed", "dataset", edit("metadata.json", seed=10**40), "64 bits"),
    Case("seed of infinity", "dataset", insert("metadata.json", '"x": 1e999'), "too large"),
    Case("metadata nested", "dataset", insert("metadata.json", f'"x": {DEEP}'), "nested too deep"),
    Case("metadata by link", "dataset", link("metadata.json"), "metadata.json is a link"),
    Case("metadata from a pipe", "dataset", pipe("metadata.json"), "not a regular file"),
    # results
    Case("summary of NaN", "finished", write("summary.json", '{"sac/success_rate": NaN}'), "NaN"),
    Case(
        "summary of lists",
        "finished",
        write("summary.json", '{"sac/success_rate": [1]}'),
        "should be",
    ),
    Case("summary nested", "finished", write("summary.json", DEEP), "nested too deep"),
    Case("summary by link", "finished", link("summary.json"), "summary.json is a link"),
    Case(
        "summary of text",
        "finished",
        write("summary.json", '{"sac/success_rate": "high"}'),
        "in no summary",
    ),
    Case(
        "row without step",
        "finished",
        write("sac/metrics.jsonl", '{"eval/success_rate": 1}\n'),
        "line 1, has no step",
    ),
    Case(
        "row of text",
        "finished",
        write("sac/metrics.jsonl", '{"step": 1, "eval/success_rate": "x"}\n'),
        "line 1, cannot",
    ),
    Case(
        "row as a list",
        "finished",
        write("sac/metrics.jsonl", '{"step": 1}\n[]\n'),
        "line 2, cannot",
    ),
    Case(
        "row of many digits",
        "finished",
        write("sac/metrics.jsonl", f'{{"step": {HUGE}}}\n'),
        "64 bits",
    ),
    Case("row in binary", "finished", write("sac/metrics.jsonl", b"\xff\n"), "line 1 is not text"),
    Case("endless row", "finished", write("sac/metrics.jsonl", b" " * (2 << 20)), "longer than"),
    Case("metrics by link", "finished", link("sac/metrics.jsonl"), "metrics.jsonl is a link"),
    Case("stage by link", "finished", link("sac"), "sac is a link"),
    Case(
        "returns pickled",
        "finished",
        save("sac/adaptation.npz", test_returns=np.array([{}], object)),
        "cannot be read",
    ),
    Case(
        "returns of text",
        "finished",
        save("sac/adaptation.npz", test_returns=np.array([[["x"]]])),
        "has no returns",
    ),
    Case(
        "returns of NaN",
        "finished",
        save("sac/adaptation.npz", test_returns=np.full((1, 1, 1), np.nan)),
        "not finite",
    ),
    Case(
        "returns flat",
        "finished",
        save("sac/adaptation.npz", test_returns=np.zeros(3)),
        "has no returns",
    ),
    Case(
        "returns missing", "finished", save("sac/adaptation.npz", x=np.zeros(3)), "has no returns"
    ),
    Case("returns by link", "finished", link("sac/adaptation.npz"), "adaptation.npz is a link"),
    Case(
        "tasks pickled",
        "tasks",
        save("tasks.npz", train=np.array([{}], object)),
        "cannot be read",
    ),
    Case(
        "tasks of others",
        "tasks",
        save("tasks.npz", train=np.zeros(3)),
        "tasks of another run",
    ),
    # sweeps
    Case("record as a list", "sweep", write("sweep.json", "[]"), "should be an object"),
    Case("record of numbers", "sweep", write("sweep.json", '{"seed0": 1}'), "'seed0' is 1"),
    Case("record nested", "sweep", write("sweep.json", DEEP), "nested too deep"),
    Case("record by link", "sweep", link("sweep.json"), "sweep.json is a link"),
    Case("log by link", "sweep", link("logs/seed0.log"), "seed0.log is a link"),
    Case("lock by link", "sweep", link(".lock"), "lock is a link"),
)
"""All cases; names are unique."""
