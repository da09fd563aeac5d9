"""The parameters of a run become a refusal, if one of them holds a secret."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from mlnb.errors import ParameterError, SecretError
from mlnb.notebook.document import Document
from mlnb.notebook.syntax import parse_cell
from mlnb.settings import Settings
from mlnb.store.redaction import KNOWN
from mlnb.store.secret import look_up

_PREFIX = "MLNB_SECRET_"


def refuse_as_parameters(document: Document, values: Mapping[str, object], settings: Settings, project: Path) -> None:
    """Refuse a run whose parameters hold a secret: they are kept in records and notebooks for everybody to read.

    Secrets are those that the notebook's code names, and every ``MLNB_SECRET_*`` variable. They are known from then on,
    so that what a dying kernel leaves in its log is blotted out, too.

    Raises
    ------
    ParameterError
        Naming parameter and secret.
    """
    names = {*_named(document), *(key.removeprefix(_PREFIX) for key in os.environ if key.startswith(_PREFIX))}
    for name in sorted(names):
        with suppress(SecretError):  # the stage that asks for it will say what is wrong with it
            KNOWN.add(name, look_up(name, os.environ, settings, project, keyring=False))
    for parameter, value in values.items() if KNOWN else ():
        if KNOWN.json(value) != value:
            held = next(name for name in KNOWN.names if KNOWN.shows(name, value))
            raise ParameterError(
                f"The parameter `{parameter}` holds the secret {held!r}, and parameters are kept in records and "
                "notebooks.",
                f'Leave it out and call secret("{held}") in the notebook.',
                parameter=parameter,
            )


def _named(document: Document) -> Iterator[str]:
    """Yield the names in the ``secret("NAME")`` calls of a notebook's code."""
    for cell in document.cells:
        if cell.kind != "code" or "secret" not in cell.source:
            continue
        with suppress(SyntaxError, ValueError):
            for node in ast.walk(parse_cell(cell.source)):
                match node:
                    case ast.Call(
                        func=ast.Name(id="secret") | ast.Attribute(attr="secret"), args=[ast.Constant(value=str(name))]
                    ):
                        yield name
