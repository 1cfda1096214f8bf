"""What an HDF5 file may not do: show other files as its own, lead in circles, claim to be endless.

HDF5 has three ways to make an array out of another file: external storage, external links and
virtual datasets. A file that a stranger made could so copy files of the reader's into a dataset
that is then shared. Such arrays are refused by name, whether they are asked for or not.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

from behavior_priors.data.sizes import Declared, check_declared
from behavior_priors.errors import UserError

_MAX_DEPTH = 32
"""Groups within groups."""

_MAX_REPEATS = 10_000
"""Entries of groups that links lead to a second time: few links can otherwise mean 2^n arrays."""

_Address = tuple[int, int]
"""Where a group is in its file."""

_checked: set[tuple[int, ...]] = set()
"""Files that were found harmless, as they were then: a large one takes seconds."""


def check_file(path: Path, file: Any) -> None:
    """Looks at all links and arrays of an open file, once a process unless it changes.

    Args:
      path: the file, for messages.
      file: a `h5py.File`.

    Raises:
      UserError: a part of it lies in another file, groups lead in circles, or an array declares a
        size that its storage cannot have.
    """
    stat = path.stat()
    fingerprint = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if fingerprint not in _checked:
        _Walk(path).check_all(file.id)
        _checked.add(fingerprint)


class _Walk:
    """One pass through a file, along all ways that `readers.hdf5.found_in` could take.

    Links by name are followed last, when it is known that none leads out of the file: opening what
    is there might wait for ever.
    """

    def __init__(self, path: Path) -> None:
        import h5py

        self._path, self._h5py = path, h5py
        self._declared = Declared(path, path.stat().st_size)
        self._seen: set[_Address] = set()
        self._repeats = 0
        self._later: list[tuple[Any, bytes, str, tuple[_Address, ...]]] = []

    def check_all(self, file: Any) -> None:
        """Looks at everything, from the file's own identifier on; raises as `check_file`."""
        self._check_group(file, "", ())
        while self._later:
            self._check_member(*self._later.pop())

    def _check_group(self, group: Any, prefix: str, above: tuple[_Address, ...]) -> None:
        """Looks at a group whose members' paths begin with `prefix`, inside the groups `above`."""
        info = self._h5py.h5o.get_info(group)
        address = (info.fileno, info.addr)
        where = f"{self._path}: the group {prefix.rstrip('/') or '/'!r}"
        if address in above:
            raise UserError(f"{where} is a link to a group that it is in; remove that link")
        if len(above) > _MAX_DEPTH:
            raise UserError(f"{where} lies more than {_MAX_DEPTH} groups deep; make it less deep")
        links: list[tuple[bytes, int]] = []
        group.links.iterate(lambda name, link: links.append((name, link.type)), info=True)
        if address in self._seen:
            self._repeats += len(links)
        if self._repeats > _MAX_REPEATS:
            raise UserError(f"{where} and others are reached by too many links; remove them")
        self._seen.add(address)
        for name, kind in links:
            member = (group, name, prefix + _text(name), (*above, address))
            if kind == self._h5py.h5l.TYPE_HARD:
                self._check_member(*member)
            elif kind == self._h5py.h5l.TYPE_SOFT:
                self._later.append(member)
            else:
                what = f"is a link of an unknown kind ({kind})"
                if kind == self._h5py.h5l.TYPE_EXTERNAL:
                    target = _text(b":".join(group.links.get_val(name)))
                    what = f"is a link to another file, {target!r}"
                raise UserError(_elsewhere(self._path, member[2], what))

    def _check_member(self, group: Any, name: bytes, key: str, above: tuple[_Address, ...]) -> None:
        try:
            item = self._h5py.h5o.open(group, name)
        except (KeyError, OSError, RuntimeError):
            return  # a link to nothing; an error only if it is wanted
        if isinstance(item, self._h5py.h5g.GroupID):
            self._check_group(item, f"{key}/", above)
        elif isinstance(item, self._h5py.h5d.DatasetID):
            self._check_array(item, key)

    def _check_array(self, array: Any, key: str) -> None:
        plan = array.get_create_plist()
        if plan.get_external_count():
            name = _text(plan.get_external(0)[0])
            raise UserError(_elsewhere(self._path, key, f"has its numbers in {name!r}"))
        layout = plan.get_layout()
        if layout == self._h5py.h5d.VIRTUAL:
            name = plan.get_virtual_filename(0) if plan.get_virtual_count() else "nothing"
            raise UserError(
                _elsewhere(self._path, key, f"is a virtual dataset, of arrays in {name!r}")
            )
        shape, itemsize = array.shape, array.get_type().get_size()
        if not shape:  # a single value, or none
            return
        stored = array.get_storage_size()
        self._declared.add(key, shape, itemsize, stored)
        if layout == self._h5py.h5d.CHUNKED:
            check_declared(self._path, f"a chunk of {key}", plan.get_chunk(), itemsize, stored)


def _elsewhere(path: Path, key: str, what: str) -> str:
    return f"{path}: {key!r} {what}; other files are not read, so copy the numbers into this one"


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


@functools.cache
def register_filters() -> bool:
    """Makes the compressions of hdf5plugin known to h5py, if that is installed."""
    try:
        importlib.import_module("hdf5plugin")
    except ImportError:
        return False
    return True


def describe_filters(path: Path) -> str:
    """Which arrays of a file are compressed in a way that h5py does not know, as a clause."""
    import h5py

    found: dict[str, str] = {}

    def look(key: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            plan = item.id.get_create_plist()
            for number in range(plan.get_nfilters()):
                code, _, _, name = plan.get_filter(number)
                if not h5py.h5z.filter_avail(code):
                    found.setdefault(f"filter {code}, {_text(name) or 'without a name'}", key)

    with h5py.File(path, "r") as file:
        file.visititems(look)
    known = "; ".join(f"{key!r} by {name}" for name, key in sorted(found.items())[:3])
    return f"is compressed in a way that h5py does not know: {known or 'which, it does not say'}"
