"""Values that must not be seen become forms to look for; texts and bytes that hold one come back blotted out.

A value is known in every form in which programs print it: as it is, escaped by ``repr`` or JSON, quoted for a URL, for
HTML, as base64 (at each of the three offsets, as ``user:password`` of an Authorization header shifts it) and as hex.
The password of a URL and the lines of a key file are values of their own. A long value that is cut off ("abcdefgh...")
is found by its beginning. What a program makes of a value by its own arithmetic cannot be found.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Mapping
from mmap import mmap
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "[secret {}]"
_LINE_MIN = 16
_CODED_MIN = 8
_CUT_MIN = 12
_CUT_MAX = 32
_WIDE = ("utf-16-le", "utf-32-le")


class Redaction:
    """The secrets that this process knows.

    Examples
    --------
    >>> known = Redaction()
    >>> known.add("DB", "pa'ss word")
    >>> known.text("postgres://me:pa%27ss%20word@db")
    'postgres://me:[secret DB]@db'
    """

    def __init__(self) -> None:
        self._forms: dict[str, str] = {}
        self._coded: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._forms)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the secrets, sorted."""
        return tuple(sorted(set(self._forms.values())))

    def shows(self, name: str, value: object) -> bool:
        """Say whether a JSON value holds the secret of that name."""
        return MASK.format(name) in str(self.json(value)) and MASK.format(name) not in str(value)

    def add(self, name: str, value: str) -> None:
        """Take note of a secret."""
        for part in _parts(value):
            for form in _escaped(part):
                self._forms.setdefault(form, name)
            for form in _encoded(part):
                self._coded.setdefault(form, name)
        self._forms = _longest_first(self._forms)
        self._coded = _longest_first(self._coded)

    def text(self, text: str) -> str:
        """Return `text` with every form of every secret replaced by ``[secret NAME]``."""
        for form, name in (*self._forms.items(), *self._coded.items()):
            text = text.replace(form, MASK.format(name))
        for form, name in self._forms.items():
            beginning = _beginning(form)
            if beginning != form:
                text = _blotted(text, form, beginning, MASK.format(name))
        return text

    def json(self, value: object) -> object:
        """Return a JSON value with every text in it, keys included, blotted out; unchanged objects stay themselves."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.json(key): self.json(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.json(part) for part in value]
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self.masked(bytes(value))
        return value

    def fields(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return a JSON object with every text in it blotted out."""
        return {self.text(key): self.json(value) for key, value in fields.items()}

    def masked(self, content: bytes) -> bytes:
        """Return `content` with every secret in it replaced by as many asterisks."""
        for form in self._in_bytes():
            content = content.replace(form, b"*" * len(form))
        return content

    def held_by(self, content: bytes | mmap) -> str:
        """Return the name of a secret that stands in `content` in any form, ``""`` for none.

        Texts of pickles, Arrow, JSON (UTF-8) and of numpy (UTF-32) are found.
        """
        return next((name for form, name in self._in_bytes().items() if content.find(form) >= 0), "")

    def closed(self, text: str) -> int:
        """Return how much of `text` will not change its meaning by what comes behind it.

        The rest may be the beginning of a secret; a whole one is never parted.
        """
        end = len(text) - self._open_end(text)
        for form in (*self._forms, *self._coded):
            start = text.find(form, max(0, end - len(form) + 1))
            if 0 <= start < end:
                end = max(end, start + len(form))
        return end

    def _open_end(self, text: str) -> int:
        longest = 0
        for form in (*self._forms, *self._coded):
            tail = text[max(0, len(text) - len(form) + 1) :]
            start = tail.find(form[0])
            while start >= 0:
                if form.startswith(tail[start:]):
                    longest = max(longest, len(tail) - start)
                    break
                start = tail.find(form[0], start + 1)
        return longest

    def _in_bytes(self) -> dict[bytes, str]:
        found: dict[bytes, str] = {}
        for form, name in (*self._forms.items(), *self._coded.items()):
            for encoding in ("utf-8", *_WIDE):
                found.setdefault(form.encode(encoding, "surrogatepass"), name)
        return found


class Stream:
    """A text that arrives in pieces, blotted out although a secret may begin in one piece and end in another."""

    def __init__(self, known: Redaction) -> None:
        self._known = known
        self._held = ""

    def feed(self, text: str) -> str:
        """Return what may be shown now; the possible beginning of a secret is kept back."""
        text = self._held + text
        end = self._known.closed(text)
        self._held = text[end:]
        return self._known.text(text[:end])

    def end(self) -> str:
        """Return what was kept back: nothing more will come."""
        text, self._held = self._held, ""
        return self._known.text(text)


KNOWN = Redaction()
"""The secrets of this process."""


def _parts(value: str) -> Iterable[str]:
    """Return the value, and what in it is a secret by itself."""
    yield value
    if value.strip() != value:
        yield value.strip()
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _LINE_MIN and not line.startswith("-----"))
    elif "://" in value:
        try:
            password = urlsplit(value).password or ""
        except ValueError:
            password = ""
        for part in {password, unquote(password)}:
            if len(part) >= 4:
                yield part


def _escaped(value: str) -> Iterable[str]:
    in_json = json.dumps(value)[1:-1]
    once = {value, repr(value)[1:-1], in_json, json.dumps(value, ensure_ascii=False)[1:-1], json.dumps(in_json)[1:-1]}
    once |= {repr(value.encode("utf-8", "surrogatepass"))[2:-1], value.replace("\n", "\r\n")}
    once |= {value.replace("'", "\\'"), value.replace("\\", "\\\\").replace("'", "\\'"), value.replace('"', '\\"')}
    web = {quote(value, safe="", errors="replace"), quote(value, errors="replace"), quote_plus(value, errors="replace")}
    web |= {_small_hex(form) for form in web}
    web |= {html.escape(form) for form in (value, in_json)} | {html.escape(value, quote=False)}
    web |= {html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")}
    return {form for form in once | web if len(form) >= 4}


def _small_hex(form: str) -> str:
    parts = form.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


def _encoded(value: str) -> Iterable[str]:
    raw = value.encode("utf-8", "surrogatepass")
    found = {raw.hex(), raw.hex().upper(), base64.b32encode(raw).decode().rstrip("=")}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            text = encode(b"\0" * before + raw).decode().rstrip("=")
            first = (0, 2, 3)[before]  # characters that also hold bits of what stands before
            last = len(text) - (1 if (before + len(raw)) % 3 else 0)  # and of what stands behind
            found.add(text[first:last])
    return {form for form in found if len(form) >= _CODED_MIN and len(raw) >= _CODED_MIN - 2}


def _beginning(form: str) -> str:
    """Return the beginning by which a cut-off form is known: two thirds of it, 12 to 32 characters."""
    return form[: max(_CUT_MIN, min(_CUT_MAX, len(form) * 2 // 3))]


def _blotted(text: str, form: str, beginning: str, mask: str) -> str:
    start = text.find(beginning)
    if start < 0:
        return text
    pieces: list[str] = []
    done = 0
    while start >= 0:
        end = start + len(beginning)
        while end < len(text) and end - start < len(form) and text[end] == form[end - start]:
            end += 1
        pieces += [text[done:start], mask]
        done = end
        start = text.find(beginning, end)
    return "".join([*pieces, text[done:]])


def _longest_first(forms: Mapping[str, str]) -> dict[str, str]:
    return {form: forms[form] for form in sorted(forms, key=lambda form: (-len(form), form))}
