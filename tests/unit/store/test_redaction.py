"""Secrets are found in every form in which programs print them, and in pieces."""

from __future__ import annotations

import base64
import html
import json
import pickle
import urllib.parse

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.store.redaction import Redaction, Stream

AWKWARD = "p@ss'w\"ö\\rd/+&<b>=\t%1"
VALUES = ["hunter2-token", 'hunter2-tok"en', AWKWARD, "sk-" + "A1b2C3d4" * 8]


def _known(*values: str) -> Redaction:
    known = Redaction()
    for number, value in enumerate(values):
        known.add(f"S{number}", value)
    return known


FORMS = {
    "as it is": str,
    "repr": repr,
    "repr in repr": lambda v: repr({"password": v}),
    "json": json.dumps,
    "json as it is": lambda v: json.dumps(v, ensure_ascii=False),
    "json in json": lambda v: json.dumps(json.dumps({"k": v})),
    "url": lambda v: "https://x/?q=" + urllib.parse.quote(v),
    "url without safe characters": lambda v: "https://u:" + urllib.parse.quote(v, safe="") + "@x/",
    "form": lambda v: urllib.parse.urlencode({"password": v}),
    "html": html.escape,
    "base64": lambda v: base64.b64encode(v.encode()).decode(),
    "basic authorization": lambda v: "Basic " + base64.b64encode(f"me:{v}".encode()).decode(),
    "basic authorization, shifted": lambda v: "Basic " + base64.b64encode(f"user:{v}:x".encode()).decode(),
    "url-safe base64": lambda v: base64.urlsafe_b64encode(v.encode()).decode(),
    "hex": lambda v: v.encode().hex(),
    "bytes": lambda v: repr(v.encode()),
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_every_usual_form_is_found(form, value):
    shown = _known(value).text(f"before {form(value)} behind")
    assert "[secret S0]" in shown
    assert form(value) not in shown
    assert value not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" behind")


def test_a_value_that_is_cut_off_is_found_by_its_beginning():
    value = VALUES[-1]
    assert _known(value).text(f"token  {value[:46]}...") == "token  [secret S0]..."
    assert _known("hunter2-token").text("hunter2-toke...") == "[secret S0]..."


def test_the_password_of_an_address_and_the_lines_of_a_key_are_secrets_too():
    known = _known(
        "postgresql://me:s%40fe-word@db/x",
        "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nAAAAABBBBBCCCCCDDDDD\n-----END KEY-----",
    )
    assert known.text("password s@fe-word of s%40fe-word") == "password [secret S0] of [secret S0]"
    assert known.text("[AAAAABBBBBCCCCCDDDDD] -----BEGIN KEY-----") == "[[secret S1]] -----BEGIN KEY-----"


def test_json_values_are_searched_through_and_otherwise_left_alone():
    known = _known("hunter2-token")
    value = {"text/html": ["<b>hunter2-token</b>"], "n": 1.5, "hunter2-token": None, "raw": b"x hunter2-token y"}
    assert known.json(value) == {
        "text/html": ["<b>[secret S0]</b>"],
        "n": 1.5,
        "[secret S0]": None,
        "raw": b"x ************* y",
    }
    assert known.json({"a": [1, True, "harmless"]}) == {"a": [1, True, "harmless"]}


@pytest.mark.parametrize(
    "stored",
    [
        lambda v: pickle.dumps({"a": [v]}, protocol=5),
        lambda v: json.dumps({"a": v}).encode(),
        lambda v: np.array([v, "b"]).tobytes(),
        lambda v: v.encode("utf-16-le"),
    ],
)
@pytest.mark.parametrize("value", VALUES)
def test_stored_bytes_that_hold_a_secret_are_told(stored, value):
    assert _known("something else", value).held_by(b"\0" + stored(value)) == "S1"
    assert _known(value).held_by(stored("harmless words")) == ""


_PIECES = st.lists(
    st.one_of(
        st.sampled_from(["abcab", "hunter2-token", "hunter2-", "token", "ab", "h"]), st.text("abch2", max_size=4)
    ),
    max_size=12,
)


@given(_PIECES, st.data())
def test_no_way_to_part_a_stream_shows_a_secret_and_nothing_else_is_lost(pieces, data):
    known = _known("abcab", "hunter2-token")
    whole = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    stream = Stream(known)
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    shown = "".join(stream.feed(part) for part in parts) + stream.end()
    assert "abcab" not in shown
    assert "hunter2-token" not in shown
    if "abcab" not in whole and "hunter2-toke" not in whole:
        assert shown == whole


def test_a_stream_keeps_back_only_what_may_be_a_secret():
    stream = Stream(_known("hunter2-token"))
    assert stream.feed("say hunt") == "say "
    assert stream.feed("ing") == "hunting"
    assert stream.feed(" hunter2-") == " "
    assert stream.end() == "hunter2-"
