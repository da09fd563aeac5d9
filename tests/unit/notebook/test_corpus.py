"""Tricky cells, each run for real: what CPython was seen to do is what the analysis has to say."""

from __future__ import annotations

from functools import reduce
from operator import or_

import pytest
from corpus import CASES, PRELUDE, Case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traced import Seen, trace

from mlnb.notebook.names import Names, analyse


def _seen(case: Case) -> Seen:
    return reduce(or_, (trace(case.cell, PRELUDE + run, case.after) for run in case.runs))


def _taken(names: Names) -> set[str]:
    return {*names.inputs, *names.optional, *names.shadows}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.cell.replace("\n", "; ")[:60])
def test_what_a_cell_was_seen_to_do_is_what_the_analysis_says(case: Case) -> None:
    names, seen, over = analyse(case.cell), _seen(case), set(case.over.split())
    assert bool(seen.error) == case.fails, seen.error
    assert seen.takes <= _taken(names), "taken, unknown to the analysis"
    assert seen.gives <= set(names.outputs), "given, unknown to the analysis"
    assert seen.changes <= {*names.mutates, *names.outputs, *names.deletes}, "changed, unknown to the analysis"
    assert seen.deletes <= {*names.deletes, *names.outputs}, "deleted, unknown to the analysis"
    assert set(names.inputs) - over <= seen.takes, "said to be taken for certain, and never was"
    assert set(names.outputs) - over <= seen.gives, "said to be given, and never was"
    assert set(names.mutates) - over <= seen.changes, "said to be changed, and never was"


def test_the_corpus_is_large_and_no_cell_is_there_twice() -> None:
    cells = [case.cell for case in CASES]
    assert len(set(cells)) == len(cells) >= 120


# programs that nobody thought of, among things that bear everything

THINGS = """
class Thing:
    def __init__(self, true, depth=2):
        self.log, self.true = [], true
        self.part = Thing(true, depth - 1) if depth else None
    def __bool__(self):
        return self.true
    def __iter__(self):
        return iter([self.part] if self.true else [])
    def __getitem__(self, key):
        return self.part
    def __setitem__(self, key, value):
        self.log.append(0)
    def __add__(self, other):
        return Thing(self.true)
    def __call__(self, *args):
        return Thing(self.true)
    def __enter__(self):
        return self
    def __exit__(self, *exc):
        pass
    def append(self, value):
        self.log.append(1)
a, b, c, d, e = (Thing({true}) for _ in range(5))
"""

_name = st.sampled_from("abcde")


def _f(shape: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda said: shape.format(*(text.replace("\n", "\n    ") for text in said)))


_value = st.one_of(
    _name,
    _f("{0} + {1}", _name, _name),
    _f("{0}[0]", _name),
    _f("{0}.part", _name),
    _f("[{0} + {1} for {0} in {2}]", _name, _name, _name),
    _f("[{0} for {0} in {1} if {2}]", _name, _name, _name),
    _f("({0} if {1} else {2})", _name, _name, _name),
    _f("({0} and ({1} := {2}))", _name, _name, _name),
    _f("{0}({1})", _name, _name),
    _f("(lambda {0}: {0} + {1})", _name, _name),
    _f("list({0} + {1} for {0} in {2})", _name, _name, _name),
)
_simple = st.one_of(
    _f("{0} = {1}", _name, _value),
    _f("{0}, {1} = {2}, {3}", _name, _name, _value, _name),
    _f("{0} = {1} = {2}", _name, _name, _value),
    _f("{0} += {1}", _name, _name),
    _f("{0}.append({1})", _name, _value),
    _f("{0}[0] = {1}", _name, _value),
    _f("{0}.part.log = {1}", _name, _value),
    _f("del {0}", _name),
    _f("print({0})", _value),
    _f("import json as {0}", _name),
    _f("{0} = lambda: {1} + {2}", _name, _name, _name),
    _f("{0}()", _name),
    _f("{0}({1})", _name, _name),
    _f("globals()['{0}'] = {1}", _name, _name),
)


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    block = st.lists(inner, min_size=1, max_size=2).map("\n".join)
    return st.one_of(
        _f("if {0}:\n    {1}\nelse:\n    {2}", _value, block, block),
        _f("for {0} in {1}:\n    {2}", _name, _value, block),
        _f("for {0} in {1}:\n    {2}\n    break\nelse:\n    {3}", _name, _name, block, block),
        _f("while {0}:\n    {1}\n    break", _value, block),
        _f("try:\n    {0}\nexcept Exception as {1}:\n    {2}", block, _name, block),
        _f("try:\n    {0}\nexcept TypeError:\n    {1}\nfinally:\n    {2}", block, block, block),
        _f("with {0} as {1}:\n    {2}", _name, _name, block),
        _f("def {0}({1}=None):\n    {2}\n    return {1} + {3}", _name, _name, block, _name),
        _f("def {0}():\n    global {1}\n    {1} = {2}\n    {3}.append(1)", _name, _name, _name, _name),
        _f("class {0}:\n    {1}", _name, block),
        _f("match {0}:\n    case None:\n        pass\n    case {1} if {2}:\n        pass", _name, _name, _value),
    )


_program = st.lists(st.recursive(_simple, _nested, max_leaves=5), min_size=1, max_size=5).map("\n".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_program)
def test_no_program_does_what_the_analysis_does_not_know(program: str) -> None:
    names = analyse(program)
    for true in ("True", "False"):
        seen = trace(program, THINGS.replace("{true}", true))
        assert seen.takes <= _taken(names)
        if "class" not in program:  # whose own `a` may hold what the cell's `a` holds
            assert seen.changes <= {*names.mutates, *names.outputs, *names.deletes}
        assert seen.error or seen.gives <= set(names.outputs)
