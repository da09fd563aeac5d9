"""A file, a folder, a pattern or an address becomes the files of a table, in order, each opened wherever it lies."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from mlnb.errors import MlnbError, RemoteError, UsageError
from mlnb.store.disk import storing
from mlnb.store.remote import open_address, reaching, shown

_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".feather": "arrow",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_KNOWN = "Parquet (.parquet), CSV (.csv), Arrow (.arrow, .feather) and JSON lines (.jsonl)"


def is_remote(place: str) -> bool:
    """Say whether a place is an address elsewhere; ``file://`` is not."""
    return "://" in place and not place.startswith("file://")


def local(place: str) -> Path:
    """Return a place here as a path."""
    return Path(place.removeprefix("file://")).expanduser()


def format_of(place: str) -> str:
    """Return ``parquet``, ``csv``, ``arrow`` or ``jsonl``; "" where the name says nothing.

    Raises
    ------
    UsageError
        If the name says another format.
    """
    suffix = PurePosixPath(place.rstrip("/")).suffix.lower()
    if suffix and suffix not in _FORMATS:
        raise UsageError(f"{shown(place)} is in no format that is known here.", f"Give {_KNOWN}.")
    return _FORMATS.get(suffix, "")


def is_table(place: str) -> bool:
    """Say whether a place is a table to be scored rather than one request: by its name, or because it is a folder."""
    named = PurePosixPath(place).suffix.lower() in _FORMATS
    return named or is_remote(place) or _is_pattern(place) or local(place).is_dir()


def find_files(place: str) -> tuple[str, ...]:
    """Return the files of a table, sorted by their path; those whose name begins with ``.`` or ``_`` are left out.

    Raises
    ------
    UsageError
        If there is none, or they are not all of one format.
    RemoteError
        If the address cannot be reached.
    """
    found = _remote_files(place) if is_remote(place) else _local_files(place)
    if not found:
        told = f"There is nothing to score at {shown(place)}."
        raise UsageError(told, f"Name a file, a folder or a pattern: {_KNOWN}.")
    formats = {format_of(file) for file in found}
    if "" in formats or len(formats) > 1:
        raise UsageError(f"{shown(place)} holds files of several formats, or of none that is known.", f"Give {_KNOWN}.")
    return found


@contextmanager
def opened(file: str) -> Iterator[Any]:
    """Give a file as pyarrow reads it.

    Raises
    ------
    UsageError
        If it cannot be opened here.
    RemoteError
        If it cannot be reached elsewhere.
    """
    import pyarrow as pa

    if is_remote(file):
        with reaching(file):
            system, path = open_address(file)
            handle = system.open(path, "rb", block_size=4 << 20)
        with handle, pa.PythonFile(handle, mode="r") as source:
            yield source
        return
    try:
        source = pa.OSFile(str(local(file)), "rb")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error}.", "Name a file that you may read.") from error
    with source:
        yield source


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Turn whatever reading a damaged or unreachable file raises into a sentence about it."""
    import pyarrow as pa

    try:
        yield
    except MlnbError:
        raise
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        told = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        if is_remote(file) and not isinstance(error, pa.ArrowException):
            raise RemoteError(
                f"{shown(file)} cannot be read: {told}.", "Check the network, then repeat it.", address=shown(file)
            ) from None
        raise UsageError(f"{shown(file)} cannot be read: {told}.", "Give a whole file of its format.") from error


def _local_files(place: str) -> tuple[str, ...]:
    path = local(place)
    if _is_pattern(place) and not path.exists():
        return _sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  # the pattern may begin anywhere
    if path.is_dir():
        with storing(path, "read"):
            return _sorted(str(one) for one in path.rglob("*") if _wanted(str(one.relative_to(path))))
    return (str(path),) if path.is_file() else ()


def _remote_files(place: str) -> tuple[str, ...]:
    scheme = place.partition("://")[0]
    with reaching(place):
        system, path = open_address(place)
        if scheme in {"http", "https"}:
            return (place,)
        if _is_pattern(place):
            found = system.glob(path)
        elif system.isdir(path):
            found = [one for one in system.find(path) if _wanted(one.removeprefix(path))]
        else:
            found = [path] if system.exists(path) else []
        return tuple(sorted(f"{scheme}://{str(one).removeprefix(f'{scheme}://')}" for one in found))


def _sorted(found: Any) -> tuple[str, ...]:
    return tuple(sorted(one for one in found if Path(one).is_file()))


def _wanted(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return not any(part.startswith((".", "_")) for part in parts) and PurePosixPath(path).suffix.lower() in _FORMATS


def _is_pattern(place: str) -> bool:
    return any(sign in place for sign in "*?[")
