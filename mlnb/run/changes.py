"""Two keys of one stage become what has changed between them, in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff

from mlnb.pipeline.fingerprint import changed_parts
from mlnb.pipeline.graph import Stage
from mlnb.run.past import Sources

_EMPTY = ("{}", "[]")
_MOST_LINES = 40


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that has changed.

    Attributes
    ----------
    part : str
        Part of the key: ``code``, ``setup``, ``parameters``, ``inputs``, ``modules``, ``distributions``, ``files``,
        ``env``, ``writes`` or ``outputs``.
    name : str
        Which parameter, file, module, ...; empty for the stage's own code.
    before, after : str
        The values, where they can be shown; of code and of variables they cannot.
    sentence : str
        Without a full stop, to stand in a list.
    diff : str
        A unified diff, where both texts are known.
    """

    part: str
    name: str
    before: str
    after: str
    sentence: str
    diff: str = ""


def changes_between(
    stage: Stage, before: Mapping[str, str], after: Mapping[str, str], sources: Sources
) -> Iterator[Change]:
    """Yield what differs, in the order of a key.

    Parameters
    ----------
    before, after : mapping of str to str
        Parts of the two keys.
    sources : Sources
        The code then and now.
    """
    for part in changed_parts(before, after):
        old, new = before.get(part, "{}"), after.get(part, "{}")
        if old in _EMPTY and new in _EMPTY:
            continue
        if part in ("code", "setup"):
            yield _code(part, sources)
        elif part == "outputs":
            yield from _outputs(old, new)
        else:
            yield from _entries(stage, part, _mapping(old), _mapping(new), sources)


def _code(part: str, sources: Sources) -> Change:
    what = "its code" if part == "code" else "the setup that it uses"
    texts = sources.code if part == "code" else sources.setup
    return Change(part, "", "", "", f"{what} has changed", _diff(texts, sources.run) if texts else "")


def _outputs(old: str, new: str) -> Iterator[Change]:
    before, after = json.loads(old), json.loads(new)
    for name in after:
        if name not in before:
            words = name if name.startswith("sliced by ") else f"{name} is asked of it"
            yield Change("outputs", name, "", name, f"now {words}")
    for name in before:
        if name not in after:
            words = name if name.startswith("sliced by ") else f"{name} is asked of it"
            yield Change("outputs", name, name, "", f"no longer {words}")


def _entries(
    stage: Stage, part: str, before: Mapping[str, object], after: Mapping[str, object], sources: Sources
) -> Iterator[Change]:
    givers = {taken.name: taken.giver for taken in stage.inputs}
    for name in dict.fromkeys([*after, *before]):
        old, new = _shown(before, name), _shown(after, name)
        if old == new:
            continue
        diff = ""
        if part == "modules" and old and new:
            texts = sources.module(name, old)
            diff = _diff(texts, sources.run) if texts else ""
        sentence = _WORDS[part](name, old, new)
        if part == "inputs" and name in givers:
            sentence = f"{name}, which it takes from `{givers[name]}`, {'is another value' if old else 'is new'}"
        secret = part in ("env", "inputs", "writes")
        yield Change(part, name, "" if secret else old, "" if secret else new, sentence, diff)


def _parameter(name: str, old: str, new: str) -> str:
    if not old or not new:
        return f"the parameter {name} {'is read now' if new else 'is not read any more'}"
    return f"the parameter {name} went from {old} to {new}"


def _thing(what: str, new_words: str, gone_words: str, changed: str) -> Callable[[str, str, str], str]:
    def words(name: str, old: str, new: str) -> str:
        return f"{what} {name} {changed if old and new else new_words if new else gone_words}"

    return words


def _distribution(name: str, old: str, new: str) -> str:
    if not old or not new:
        return f"{name}{' ' * bool(new)}{new} is {'imported now' if new else 'not imported any more'}"
    return f"{name} went from {old} to {new}"


def _variable(name: str, old: str, new: str) -> str:
    if "unset" in (old, new):
        return f"the variable {name} {'is set now' if old == 'unset' else 'is not set any more'}"
    if not old or not new:
        return f"the variable {name} {'counts now' if new else 'does not count any more'}"
    return f"the variable {name} has another value"


_WORDS: Mapping[str, Callable[[str, str, str], str]] = {
    "parameters": _parameter,
    "inputs": _thing("the input", "is new", "is not taken any more", "is another value"),
    "modules": _thing("the module", "is imported now", "is not imported any more", "has changed"),
    "distributions": _distribution,
    "files": _thing("the data", "is read now", "is not read any more, or gone", "has changed"),
    "env": _variable,
    "writes": _thing("the file", "is written now", "is not written any more", "is read by others, or no longer"),
}


def _mapping(text: str) -> Mapping[str, object]:
    value = json.loads(text)
    return value if isinstance(value, dict) else {}


def _shown(values: Mapping[str, object], name: str) -> str:
    """Return a value as text, ``""`` for one that is not there."""
    if name not in values:
        return ""
    value = values[name]
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _diff(texts: tuple[str, str], run: str) -> str:
    found = list(unified_diff(texts[0].splitlines(), texts[1].splitlines(), f"run {run}", "now", lineterm="", n=2))
    if len(found) > _MOST_LINES:
        found = [*found[:_MOST_LINES], f"... {len(found) - _MOST_LINES} more lines"]
    return "\n".join(found)
