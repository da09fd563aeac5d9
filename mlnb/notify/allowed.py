"""A user's word becomes a file in their own folder: this channel of this project may use secrets, or run its command.

Channels are declared in pyproject.toml, which comes along with a clone. One that could execute something, or hand a
secret to whoever the table names, does neither before this user has said so, of exactly this table in this folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlnb.registry.canonical import digest_of
from mlnb.store.disk import make_folder, write_bytes
from mlnb.store.signing import keys_folder


def allow(folder: Path, name: str, table: Mapping[str, object]) -> None:
    """Allow a channel from now on, until its table changes."""
    place = _place(folder, name, table)
    make_folder(place.parent)
    write_bytes(place, f"{folder.resolve()} {name}\n".encode(), mode=0o600)


def is_allowed(folder: Path, name: str, table: Mapping[str, object]) -> bool:
    """Return whether this user has allowed the channel as it is declared now."""
    return _place(folder, name, table).is_file()


def _place(folder: Path, name: str, table: Mapping[str, object]) -> Path:
    digest = digest_of({"folder": str(folder.resolve()), "name": name, "table": dict(table)})
    return keys_folder() / "channels" / digest.removeprefix("sha256:")
