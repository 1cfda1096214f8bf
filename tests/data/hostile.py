"""Files that somebody made to do harm: to show other files, to exhaust memory, to wait for ever.

`RECORDINGS` are for readers of others' files; `hostile_datasets` has those in our own format. Each
makes one in a folder, beside which lies a secret that nothing may show.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.data.readers.files import d4rl, minari, ogbench, robomimic, write_hdf5

SECRET = b"the-reader's-own-secret "
HUGE = 10**12

Make = Callable[[Path, Path], Path]
"""From a folder and a file beside it with the secret, to what is to be read."""


class _Payload:
    """Unpickled, it leaves a file called `executed` in the working directory."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("executed", "w"))


def hdf5(change: Callable[[h5py.File, Path], Any], layout: str = "d4rl") -> Make:
    """A file of a layout, changed by one that may point at the secret."""

    def make(folder: Path, secret: Path) -> Path:
        arrays: dict[str, Any] = {
            "d4rl": lambda: d4rl((3, 2), (False, True)),
            "robomimic": lambda: robomimic((3, 2)),
            "minari": lambda: minari((3, 2), (False, True)),
        }[layout]()
        path = write_hdf5(folder / "a.hdf5", arrays)
        with h5py.File(path, "a") as file:
            change(file, secret)
        return path

    return make


def _external(key: str, shape: tuple[int, ...]) -> Callable[[h5py.File, Path], Any]:
    def change(file: h5py.File, secret: Path) -> None:
        if key in file:
            del file[key]
        file.create_dataset(key, shape, "f4", external=[(str(secret), 0, 4 * int(np.prod(shape)))])

    return change


def _virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((5, 2), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "x", (5, 2))
    del file["observations"]
    file.create_virtual_dataset("observations", layout)


def _virtual_of_itself(file: h5py.File, _: Path) -> None:
    layout = h5py.VirtualLayout((5, 2), "f4")
    layout[:] = h5py.VirtualSource(".", "v", (5, 2))
    file.create_virtual_dataset("v", layout)


def _link_through_a_pipe(file: h5py.File, secret: Path) -> None:
    os.mkfifo(secret.with_name("pipe"))
    file["z"] = h5py.ExternalLink(str(secret.with_name("pipe")), "/x")
    file["a"] = h5py.SoftLink("/z/y")


def _laughs(file: h5py.File, _: Path) -> None:
    for number in range(24):
        for name in "ab":
            file[f"g{number}/{name}"] = h5py.SoftLink(f"/g{number + 1}")
    file.create_group("g24")


def _deep(file: h5py.File, _: Path) -> None:
    group: Any = file
    for _ in range(2000):
        group = group.create_group("g")


def _huge(shape: tuple[int, ...], **options: Any) -> Callable[[h5py.File, Path], Any]:
    def change(file: h5py.File, _: Path) -> None:
        del file["terminals"]
        file.create_dataset("terminals", shape, "i1", **options)

    return change


def header(descr: str, shape: str, version: int = 1, length: int | None = None) -> bytes:
    """The beginning of a `.npy`, as somebody likes it."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text


def npz(change: Callable[[dict[str, bytes]], Any], method: int = zipfile.ZIP_STORED) -> Make:
    """An archive with members of bytes, some of them changed."""

    def make(folder: Path, _: Path) -> Path:
        members = {}
        for key, array in ogbench((3, 2)).items():
            descr, shape = repr(np.lib.format.dtype_to_descr(array.dtype)), str(array.shape)
            members[f"{key}.npy"] = header(descr, shape) + array.tobytes()
        change(members)
        with zipfile.ZipFile(folder / "a.npz", "w", method) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return folder / "a.npz"

    return make


def _member(data: bytes, key: str = "observations") -> Callable[[dict[str, bytes]], Any]:
    return lambda members: members.update({f"{key}.npy": data})


def _bomb(folder: Path, _: Path) -> Path:
    """A member of some kilobytes that says, in its header and in the zip's, that it is huge."""
    name, start = b"actions.npy", header("'<f4'", f"({HUGE}, 3)")
    size = len(start) + 12 * HUGE
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(start + bytes(10**6)) + packer.flush()
    extra = struct.pack("<HHQQ", 1, 16, size, len(data))
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0, 8, 0, 0, 0, 2**32 - 1, 2**32 - 1, 11, 20)
    extra_central = struct.pack("<HHQ", 1, 8, size)
    central = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 45, 45, 0, 8, 0, 0, 0, len(data), 2**32 - 1, 11, 12, 0, 0, 0, 0, 0
    )
    whole = local + name + extra + data
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(central) + 23, len(whole), 0)
    (folder / "a.npz").write_bytes(whole + central + name + extra_central + end)
    return folder / "a.npz"


def _twice(folder: Path, _: Path) -> Path:
    with zipfile.ZipFile(folder / "a.npz", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("actions.npy", header("'<f4'", "(0, 3)"))
    return folder / "a.npz"


def _directory(offset: int, data: bytes) -> Make:
    """An archive with some bytes of each entry of its directory replaced."""

    def make(folder: Path, secret: Path) -> Path:
        path = npz(lambda members: None)(folder, secret)
        content = bytearray(path.read_bytes())
        place = 0
        while (place := content.find(b"PK\1\2", place)) >= 0:
            content[place + offset : place + offset + len(data)] = data
            place += 4
        path.write_bytes(content)
        return path

    return make


def _raw(name: str, data: bytes) -> Make:
    def make(folder: Path, _: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def _torch(folder: Path, _: Path) -> Path:
    with zipfile.ZipFile(folder / "a.pt", "w") as archive:
        archive.writestr("archive/data.pkl", _pickle())
    return folder / "a.pt"


def _pickle() -> bytes:
    return pickle.dumps(_Payload(), protocol=4)


def _object_array() -> bytes:
    return header("'|O'", "(7, 2)") + _pickle()


def _pipe(folder: Path, _: Path) -> Path:
    os.mkfifo(folder / "a.npz")
    return folder / "a.npz"


def _socket(folder: Path, _: Path) -> Path:
    before = Path.cwd()
    os.chdir(folder)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("a.npz")
    os.chdir(before)
    return folder / "a.npz"


def _link(target: str) -> Make:
    def make(folder: Path, _: Path) -> Path:
        (folder / "a.npz").symlink_to(target)
        return folder / "a.npz"

    return make


def _minari_link(name: str) -> Make:
    """A folder of Minari's, of which one file is a link out of it."""

    def make(folder: Path, secret: Path) -> Path:
        given = folder / "given"
        write_hdf5(given / "data/main_data.hdf5", minari((3, 2), (False, True)))
        (given / name).unlink(missing_ok=True)
        (given / name).symlink_to(secret)
        return given

    return make


RECORDINGS: dict[str, Make] = {
    "HDF5: numbers in another file": hdf5(_external("observations", (5, 2))),
    "HDF5: unasked numbers in another file": hdf5(_external("infos/more", (5, 2))),
    "HDF5: actions in another file, robomimic": hdf5(
        _external("data/demo_1/actions", (2, 3)), "robomimic"
    ),
    "HDF5: observations in another file, minari": hdf5(
        _external("episode_1/observations", (3, 2)), "minari"
    ),
    "HDF5: a link to another file": hdf5(
        lambda file, secret: file.update(linked=h5py.ExternalLink(str(secret), "/x"))
    ),
    "HDF5: an episode is a link to another file": hdf5(
        lambda file, secret: file.update({"data/demo_2": h5py.ExternalLink(str(secret), "/x")}),
        "robomimic",
    ),
    "HDF5: a link through a link to a pipe": hdf5(_link_through_a_pipe),
    "HDF5: virtual": hdf5(_virtual),
    "HDF5: virtual, of itself": hdf5(_virtual_of_itself),
    "HDF5: a link by name in circles": hdf5(
        lambda file, _: file.update({"infos/again": h5py.SoftLink("/infos")})
    ),
    "HDF5: a link in circles": hdf5(lambda file, _: file.update({"infos/again": file["/"]})),
    "HDF5: links to links to links": hdf5(_laughs),
    "HDF5: two thousand groups deep": hdf5(_deep),
    "HDF5: rows without storage": hdf5(_huge((HUGE,))),
    "HDF5: rows without chunks": hdf5(_huge((HUGE,), chunks=(1000,), compression="gzip")),
    "HDF5: a chunk of a gigabyte": hdf5(_huge((5,), chunks=(2**30,), maxshape=(None,))),
    "npz: a bomb": _bomb,
    "npz: rows that are not there": npz(_member(header("'<f4'", f"({HUGE}, 2)"))),
    "npz: rows that are not there, packed": npz(
        _member(header("'<f4'", f"({HUGE}, 2)") + bytes(10**5)), zipfile.ZIP_DEFLATED
    ),
    "npz: a dtype that ends too soon": npz(_member(header("'f4,('", "(7, 2)") + bytes(56))),
    "npz: a dtype of a million numbers": npz(_member(header("'(1000,1000)f4'", "(7, 2)"))),
    "npz: records": npz(_member(header("[('a', '<f4'), ('b', 'O')]", "(7, 2)") + bytes(84))),
    "npz: objects": npz(_member(_object_array())),
    "npz: text": npz(_member(header("'<U5'", "(7, 2)") + bytes(280))),
    "npz: a negative shape": npz(_member(header("'<f4'", "(-7, 2)") + bytes(56))),
    "npz: a shape of four hundred digits": npz(_member(header("'<f4'", f"({'9' * 400},)"))),
    "npz: a nested header": npz(_member(header("(" * 9000 + ")" * 900, "(7, 2)"))),
    "npz: a header of code": npz(_member(header("open('executed', 'w')", "(7, 2)"))),
    "npz: a header of gigabytes": npz(_member(header("'<f4'", "(7, 2)", 2, 2**32 - 1))),
    "npz: a header that is cut off": npz(_member(b"\x93NUM")),
    "npz: two members of one name": _twice,
    "npz: members that overlap": _directory(20, struct.pack("<II", 10**6, 10**6)),
    "npz: encrypted": _directory(8, b"\1\0"),
    "npz: packed in another way": npz(lambda members: None, zipfile.ZIP_BZIP2),
    "npz: ten thousand members": npz(
        lambda members: members.update({f"{n}.npy": b"" for n in range(10_001)})
    ),
    "npz: a member that leads elsewhere": npz(
        lambda members: members.update({"../../observations": members.pop("observations.npy")})
    ),
    "a pickle": _raw("a.npz", _pickle()),
    "an old pickle": _raw("a.npz", b"cbuiltins\nopen\n(S'executed'\nS'w'\ntR."),
    "a file of PyTorch": _torch,
    "a pipe": _pipe,
    "a socket": _socket,
    "a device": _link("/dev/zero"),
    "a link to itself": _link("a.npz"),
    "Minari: its file is a link out of it": _minari_link("data/main_data.hdf5"),
    "Minari: its metadata are a link out of it": _minari_link("data/metadata.json"),
    "Minari: its metadata above are a link out of it": _minari_link("metadata.json"),
}
"""By what is wrong with it."""
