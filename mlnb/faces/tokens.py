"""The words of ``mlnb services tokens`` become acts on a service's tokens; a new token is shown once, here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from mlnb.faces.complete import model_names
from mlnb.faces.spans import span_s
from mlnb.faces.verb import Asked, Things

if TYPE_CHECKING:
    from mlnb.service.access import Token
    from mlnb.service.tokens import Tokens

_name = click.argument("name", shell_complete=model_names)
_token = click.argument("token")
_SCOPES = ("predict", "labels", "explain", "metrics", "admin")


@click.group("tokens", cls=Things)
def tokens() -> None:
    """Say who may ask a service: add, list, revoke, rotate tokens. A running service follows at once."""


@tokens.command("add")
@_name
@_token
@click.option("--scope", "scopes", multiple=True, type=click.Choice(_SCOPES), help="What it may do. [predict]")
@click.option("--expires", default="", metavar="SPAN", help="After how long it ends: 12h, 90d. [never]")
@click.option("--requests", "requests_s", type=click.FloatRange(0), default=0.0, metavar="N", help="Requests a second.")
@click.option("--rows", "rows_s", type=click.FloatRange(0), default=0.0, metavar="N", help="Rows a second.")
@click.pass_obj
def add(
    asked: Asked, name: str, token: str, scopes: tuple[str, ...], expires: str, requests_s: float, rows_s: float
) -> int:
    """Make a token called TOKEN for callers of a service, and show it: nobody can read it again."""
    from mlnb.service.tokens import Wish

    days = span_s(expires, "--expires") / 86_400 if expires else 0.0
    text = _tokens(asked, name).add(token, Wish(scopes or ("predict",), days, requests_s, rows_s))
    return _shown(asked, name, token, text)


@tokens.command("list")
@_name
@click.pass_obj
def list_tokens(asked: Asked, name: str) -> int:
    """List the tokens of a service: what they may do, how long they count."""
    found = _tokens(asked, name).list()
    return asked.answer([_told(one) for one in found], lambda _: _lines(name, found))


@tokens.command("revoke")
@_name
@_token
@click.pass_obj
def revoke(asked: Asked, name: str, token: str) -> int:
    """Take a token away; the last one leaves a service that nobody may ask."""
    _tokens(asked, name).revoke(token)
    told = f"The token {token} of {name} counts no more."
    return asked.answer({"service": name, "token": token, "revoked": True}, lambda _: [told])


@tokens.command("rotate")
@_name
@_token
@click.option("--grace", default="", metavar="SPAN", help="How long the old one counts beside it: 10m, 1h. [0]")
@click.pass_obj
def rotate(asked: Asked, name: str, token: str, grace: str) -> int:
    """Make a new token in place of one, with its scopes, rates and span, and show it."""
    text = _tokens(asked, name).rotate(token, span_s(grace, "--grace") if grace else 0.0)
    return _shown(asked, name, token, text)


def _tokens(asked: Asked, name: str) -> Tokens:
    from mlnb.registry.reference import check_name
    from mlnb.service.tokens import Tokens

    project = asked.project()
    return Tokens(project.state.services / check_name("service", name), project.audit, project.actor)


def _shown(asked: Asked, name: str, token: str, text: str) -> int:
    lines = (text, f"Keep it: only its digest is stored. Callers of {name} send: Authorization: Bearer TOKEN")
    return asked.answer({"service": name, "name": token, "token": text}, lambda _: lines)


def _told(one: Token) -> dict[str, object]:
    return {
        "id": one.id,
        "name": one.name,
        "scopes": sorted(one.scopes),
        "created_at": one.created_at,
        "expires_at": one.expires_at or None,
        "requests_s": one.requests_s,
        "rows_s": one.rows_s,
    }


def _lines(name: str, found: Sequence[Token]) -> Iterator[str]:
    from mlnb.faces.tables import table

    if not found:
        yield f"{name} has no tokens: whoever reaches it may ask. Try: mlnb services tokens add {name} CALLER"
        return
    rows = [
        (
            one.name,
            one.id,
            ", ".join(sorted(one.scopes)),
            one.expires_at or "never",
            f"{one.requests_s:g}" if one.requests_s else "any",
            f"{one.rows_s:g}" if one.rows_s else "any",
        )
        for one in found
    ]
    yield from table(("token", "id", "scopes", "expires", "requests/s", "rows/s"), rows)
