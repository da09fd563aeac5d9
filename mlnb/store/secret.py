"""The name of a secret becomes its value, from where secrets are kept: environment, files, keyring. Nothing is written.

The first place that has it wins:

1. the variable ``MLNB_SECRET_<NAME>``, then the variable ``<NAME>``;
2. the file ``<name>`` in `secrets_folder` (default ``/run/secrets``, where Docker and Kubernetes mount them);
3. the line ``NAME=value`` of `secrets_file` (a dotenv file, relative to the project; default none);
4. the keyring, service ``mlnb`` (extra ``mlnb[keyring]``).

A file that others than its owner may read is refused, except below ``/run/secrets``: there the container's runtime sets
the mode. One newline at the end of a file does not count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from mlnb.errors import SecretError
from mlnb.settings import Settings
from mlnb.store.redaction import MASK

SHORTEST = 4
"""Characters below which a value is no secret: it would be found, and blotted out, in every other word."""

SERVICE = "mlnb"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*=\s*(.*?)\s*$")
_MOUNTED = (Path("/run/secrets"), Path("/var/run/secrets"))


def look_up(name: str, environ: Mapping[str, str], settings: Settings, project: Path, *, keyring: bool = True) -> str:
    """Return the value of a secret.

    Parameters
    ----------
    environ : mapping
        The process's variables.
    project : Path
        The folder that a relative `secrets_file` or `secrets_folder` is relative to.
    keyring : bool, default True
        Whether the keyring may be asked, which may ask the user in turn.

    Raises
    ------
    SecretError
        If nobody has it, its file may be read by others, or its value is too short or trivial to be kept out of texts.
    """
    if not _NAME.fullmatch(name):
        raise SecretError(
            f"{name!r} cannot name a secret.", "Use letters, digits, `_`, `-` and `.`, as in DB_PASSWORD.", name=name
        )
    value, place = _found(name, environ, settings, project)
    if value is None and keyring:
        value, place = _from_keyring(name), "the keyring"
    if value is None:
        kept = _places(name, settings)
        raise SecretError(f"There is no secret {name!r}.", f"Put it into {kept}.", name=name)
    if len(value.strip()) < SHORTEST:
        raise SecretError(
            f"The secret {name!r} from {place} is shorter than {SHORTEST} characters: it could not be kept out of "
            "outputs without blotting out other words.",
            "Use a longer one, or a plain parameter if it is none.",
            name=name,
        )
    if value.strip().lower() in MASK.format(name).lower():
        raise SecretError(
            f"The secret {name!r} from {place} is its own name, or the word `secret`: that hides nothing.",
            "Set it to its real value.",
            name=name,
        )
    return value


def _found(name: str, environ: Mapping[str, str], settings: Settings, project: Path) -> tuple[str | None, str]:
    for variable in (f"MLNB_SECRET_{name}", name):
        if variable in environ:
            return environ[variable], f"the variable {variable}"
    if settings.secrets_folder:
        file = project / settings.secrets_folder / name
        text = read_private(file, name)
        if text is not None:
            return text.removesuffix("\n").removesuffix("\r"), str(file)
    if settings.secrets_file:
        file = project / settings.secrets_file
        values = _dotenv(read_private(file, name) or "")
        if name in values:
            return values[name], str(file)
    return None, ""


def read_private(file: Path, name: str) -> str | None:
    """Return the text of a file that only its owner can read, None where there is none.

    Raises
    ------
    SecretError
        If others can read it, or it is no text.
    """
    try:
        mode = file.stat().st_mode
        mounted = any(file.is_relative_to(folder) for folder in _MOUNTED)
        if mode & 0o077 and not mounted:
            raise SecretError(
                f"The file {file} of the secret {name!r} may be read by others than its owner.",
                f"Take that right away: chmod 600 {file}.",
                name=name,
            )
        return file.read_text("utf-8") if file.is_file() else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise SecretError(
            f"The file {file} of the secret {name!r} cannot be read: {said}.", "Check its owner and mode.", name=name
        ) from None


def _dotenv(text: str) -> dict[str, str]:
    values = {}
    for line in text.splitlines():
        found = _LINE.match(line)
        if found:
            name, value = found.groups()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            values[name] = value[1:-1] if quoted else value.partition(" #")[0].rstrip()
    return values


def _from_keyring(name: str) -> str | None:
    if find_spec("keyring") is None:
        return None
    import keyring
    from keyring.errors import KeyringError

    with suppress(KeyringError):  # no backend, or locked: then it has nothing for us
        return keyring.get_password(SERVICE, name)
    return None


def _places(name: str, settings: Settings) -> str:
    places = [f"the variable {name}"]
    if settings.secrets_folder:
        places.append(f"the file {settings.secrets_folder}/{name}")
    places.append(f"the file {settings.secrets_file}" if settings.secrets_file else "a dotenv file (secrets_file)")
    return f"{', '.join(places)} or the keyring (`keyring set {SERVICE} {name}`)"
