"""What has been typed behind ``%%stage`` or ``%mlnb`` becomes what it could become, for IPython's TAB."""

from __future__ import annotations

from collections.abc import Callable

Completer = Callable[[object, object], list[str]]
_MARKS = ("setup", "stage", "test", "deploy")


def completers() -> dict[str, Completer]:
    """Return a completer for each word that a line may begin with."""
    return {f"%%{kind}": _mark_completer(kind) for kind in _MARKS} | {"%mlnb": complete_verb}


def _mark_completer(kind: str) -> Completer:
    def complete(shell: object, event: object) -> list[str]:
        from mlnb.notebook.marks import OPTIONS

        return [f"--{option.removeprefix('--')}" for option in OPTIONS.get(kind, ())]

    return complete


def complete_verb(shell: object, event: object) -> list[str]:
    """Offer verbs, options, notebooks, versions and aliases, from the same source as the shell's completion."""
    from click.shell_completion import ShellComplete

    from mlnb.faces.cli import root

    line = str(getattr(event, "text_until_cursor", ""))
    words = line.split()[1:]
    last = "" if line.endswith((" ", "\t")) or not words else words.pop()
    found = ShellComplete(root, {}, "%mlnb", "_MLNB_COMPLETE").get_completions(words, last)
    typed = str(getattr(event, "symbol", ""))
    return [_tail(item.value, last, typed) for item in found if item.type == "plain"]


def _tail(word: str, last: str, typed: str) -> str:
    """Return the part of `word` that takes the place of `typed`: IPython begins a new word behind ``@``."""
    return word[len(last) - len(typed) :] if len(typed) < len(last) else word
