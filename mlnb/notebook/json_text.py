"""The text of a JSON file becomes the places of its values, so that one of them can be changed and no other byte."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # documented only by its name

_SPACE = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r"[^,\]}\s]+")


@dataclass(frozen=True, slots=True)
class JsonNode:
    """A JSON value and where it stands in the text: `start` is its first character, `end` is behind its last."""

    start: int
    end: int
    members: Mapping[str, JsonNode]
    items: tuple[JsonNode, ...]


def node_at(text: str, start: int) -> JsonNode:
    """Read the JSON value at `start`; the text is known to be JSON."""
    if text[start] == '"':
        return JsonNode(start, scanstring(text, start + 1)[1], {}, ())
    if text[start] not in "{[":
        found = _PLAIN.match(text, start)
        return JsonNode(start, found.end() if found else start, {}, ())
    members: dict[str, JsonNode] = {}
    items: list[JsonNode] = []
    place = skipped(text, start + 1)
    while text[place] not in "}]":
        key = ""
        if text[start] == "{":
            key, behind = scanstring(text, place + 1)
            place = skipped(text, skipped(text, behind) + 1)
        node = node_at(text, place)
        members[key] = node
        items.append(node)
        place = skipped(text, node.end)
        if text[place] == ",":
            place = skipped(text, place + 1)
    if text[start] == "{":
        return JsonNode(start, place + 1, members, ())
    return JsonNode(start, place + 1, {}, tuple(items))


def skipped(text: str, place: int) -> int:
    """Return the first place from `place` on that is not white space."""
    found = _SPACE.match(text, place)
    return found.end() if found else place
