"""A planned pipeline becomes sentences about what can run and is probably not meant: they warn, they never refuse.

Kale hands values over along ``prev:`` tags only; we follow the data. Where the two differ, the notebook would do
something else under Kale, so both stages are named. Parameters are kept in records and notebooks for everybody to read,
so one whose name says that it is a secret is named too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from mlnb.notebook.dynamic import unsaid
from mlnb.notebook.marks import is_kale, mark_of
from mlnb.notebook.spelling import listed, numbered
from mlnb.pipeline.graph import Parameter, Stage
from mlnb.pipeline.setup import tree_of

_SECRET = re.compile(
    r"(?:^|_)(?:password|passwd|pwd|passphrase|secret|token|api_?key|access_?key|private_?key|credentials?)$", re.I
)
_NO_SECRET = re.compile(r"(?:^|_)(?:pad|eos|bos|unk|sep|cls|mask|stop|start|end|special|max|min|num)_?tokens?$", re.I)


def cautions(stages: Sequence[Stage], parameters: Sequence[Parameter]) -> tuple[str, ...]:
    """Return the warnings of a pipeline, in its order."""
    return (*_named_secrets(parameters), *_against_kale(stages), *_unseen(stages))


def _named_secrets(parameters: Sequence[Parameter]) -> Iterator[str]:
    for parameter in parameters:
        named = _SECRET.search(parameter.name) and not _NO_SECRET.search(parameter.name)
        if named and parameter.type.partition(" | ")[0] in {"str", "any", "None"}:
            yield (
                f"The parameter `{parameter.name}` (cell {parameter.cell}) looks like a secret, and parameters are "
                f'kept in records and notebooks: read it with `secret("{parameter.name.upper()}")` instead.'
            )


def _against_kale(stages: Sequence[Stage]) -> Iterator[str]:
    steps = [stage for stage in stages if any(is_kale(cell.tags) for cell in stage.cells)]
    before = {stage.name: _previous(stage) for stage in steps}
    cells = {stage.name: numbered(cell.number for cell in stage.cells) for stage in stages}
    for stage in steps:
        declared = _ancestors(stage.name, before)
        missing: dict[str, list[str]] = {}
        for taken in stage.inputs:
            if taken.giver not in declared:
                missing.setdefault(taken.giver, []).append(taken.name)
        for giver, names in missing.items():
            yield (
                f"Stage `{stage.name}` ({cells[stage.name]}) takes {listed(names)} from stage `{giver}` "
                f"({cells[giver]}), which no `prev:` puts before it: mlnb follows the data, Kale would not hand it "
                f"over; tag it `prev:{giver}`."
            )


def _unseen(stages: Sequence[Stage]) -> Iterator[str]:
    """Name the code that only exists when it runs: nobody can say what it takes and gives."""
    for stage in stages:
        for cell in stage.cells:
            calls = [node for node in ast.walk(tree_of(cell)) if isinstance(node, ast.Call)]
            for line, what in dict.fromkeys((call.lineno, unsaid(call)) for call in calls if unsaid(call)):
                yield (
                    f"Stage `{stage.name}` runs code by `{what}` (cell {cell.number}, line {line}), whose names cannot "
                    "be read: say what it takes and gives with --inputs and --outputs."
                )


def _previous(stage: Stage) -> frozenset[str]:
    marks = [mark for cell in stage.cells if (mark := mark_of(cell)) is not None]
    return frozenset(name for mark in marks for name in mark.options.get("after", ()))


def _ancestors(name: str, before: Mapping[str, frozenset[str]]) -> frozenset[str]:
    found: set[str] = set()
    left = list(before.get(name, ()))
    while left:
        step = left.pop()
        if step not in found:
            found.add(step)
            left.extend(before.get(step, ()))
    return frozenset(found)
