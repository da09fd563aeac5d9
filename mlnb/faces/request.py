"""The untyped body of a request becomes words that may stand on a command line, or a refusal in two sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tornado.web import HTTPError

from mlnb.notebook.suffixes import NOTEBOOKS


class RefusedError(HTTPError):
    """A request that cannot be met: an HTTP status with the two sentences of our errors."""

    def __init__(self, status: int, problem: str, remedy: str) -> None:
        super().__init__(status, problem.replace("%", "%%"))
        self.problem = problem
        self.remedy = remedy


def read_object(body: bytes) -> dict[str, object]:
    """Return a request's JSON object."""
    try:
        given = json.loads(body or b"{}")
    except ValueError as error:
        raise RefusedError(400, "The request is not JSON.", "Send a JSON object.") from error
    if not isinstance(given, dict):
        raise RefusedError(400, "The request is not a JSON object.", "Send a JSON object.")
    return given


def read_text(body: Mapping[str, object], key: str) -> str:
    """Return a text that the request must have."""
    value = body.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise RefusedError(400, f"The request has no {key}.", f"Send {key} as a text.")
    return value


def read_assignments(parameters: object) -> list[str]:
    """Return ``name=value`` words; the command checks the values' types against the notebook."""
    if parameters is None:
        return []
    if not isinstance(parameters, dict):
        raise RefusedError(400, "parameters is not an object.", "Send an object of names and values.")
    words = []
    for name, value in parameters.items():
        if not name.isidentifier():
            raise RefusedError(400, f"{name!r} is not the name of a parameter.", "Send names of the parameters cell.")
        if not isinstance(value, str | int | float | bool | None) or "\0" in str(value):
            raise RefusedError(400, f"The value of {name} is not plain.", "Send a text, a number, true, false or null.")
        words.append(f"{name}={value}" if isinstance(value, str) else f"{name}={json.dumps(value)}")
    return words


def notebook_file(root: str, path: str) -> Path:
    """Return the file of a notebook that lies below the server's root, links followed."""
    if not root:
        raise RefusedError(
            501, "This server does not keep its notebooks in files.", "Use the mlnb command where they are."
        )
    folder = Path(root).resolve()
    file = (folder / path.strip("/")).resolve() if "\0" not in path else folder
    if not file.is_relative_to(folder) or file.suffix not in NOTEBOOKS or not file.is_file():
        raise RefusedError(
            404,
            f"There is no notebook {path!r} here.",
            "Save it as .ipynb (or .py, .md) below the server's root folder.",
        )
    return file
