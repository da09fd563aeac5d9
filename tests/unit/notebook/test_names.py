"""What a cell takes, gives and changes: checked against the very run of each program, and for IPython against IPython."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracked import observe

from mlnb.notebook.names import analyse, analyse_cells
from mlnb.notebook.syntax import parse_cell

PROGRAMS = [
    "x += 1",
    "y = x\nx = 2",
    "x = 1\ny = x + z",
    "a, (b, *c) = load()",
    "a = b = c",
    "x: int = y",
    "x: Kind = 1",
    "print(f'{a:{width}} {b!r}')",
    "if flag:\n    x = 1\nelse:\n    x = 2\nprint(x)",
    "if flag:\n    x = 1\nprint(x)",
    "x = 1 if flag else other",
    "for i in rows:\n    total = i\nprint(total)",
    "for i in range(3):\n    if i > 0:\n        print(last)\n    last = i",
    "for a, b in pairs:\n    pass\nelse:\n    done = a_limit",
    "while go():\n    step = one\n    break",
    "n = 0\nwhile n < limit:\n    n += 1\n    break",
    "try:\n    x = risky()\nexcept ValueError as error:\n    print(error)\nprint(x)",
    "try:\n    import json\nexcept ImportError:\n    json = None\nprint(json)",
    "try:\n    x = 1 / 0\nexcept Exception as e:\n    y = str(e)\nfinally:\n    z = close",
    "try:\n    raise ValueError\nexcept (ValueError, fallback):\n    pass",
    "with opened(path) as file:\n    text = file.read()\nprint(text)",
    "squares = [n * n for n in numbers if n > limit]",
    "pairs = {k: v for k, v in items for w in v}",
    "nested = [[cell for cell in row] for row in table]",
    "found = any((hit := word) for word in words)\nprint(hit)",
    "gen = sum(x for x in xs)\nx = 1",
    "import os.path\nprint(os.path.join(base, 'x'))",
    "import os.path as p, sys\nfrom json import dumps as d",
    "def f(a, b=default, *args, c=other, **kw):\n    return a + inner\nf(1)",
    "def f():\n    return later\nlater = 1\nf()",
    "def f():\n    return later\nf()\nlater = 1",
    "def f(n):\n    return f(n - 1) if n > 0 else base\nf(1)",
    "def outer():\n    x = 1\n    def inner():\n        return x + free\n    return inner\nouter()()",
    "def counter():\n    global count\n    count = start\ncounter()\nprint(count)",
    "def outer():\n    n = 0\n    def step():\n        nonlocal n\n        n += size\n    step()\nouter()",
    "def helper():\n    return base\ndef user():\n    return helper()\nuser()",
    "def typed(a: Frame) -> Result:\n    return a",
    "from __future__ import annotations\ndef typed(a: Frame) -> Result:\n    return a",
    "@decorate\ndef f():\n    return 1",
    "apply(lambda row: row * factor)",
    "score = lambda row: row * factor\nscore(2)",
    "f = lambda a, b=default: a\n",
    "class Model(Base, metaclass=Meta):\n    size = width\n    double = size * 2\n    def fit(self):\n        return size\n",
    "class A:\n    x = 1\n    y = [i for i in source]\nprint(A.x)",
    "del x",
    "x = 1\ndel x",
    "x = 1\ny = x\ndel x, frame['a'], thing.part",
    "frame['c'] = frame['a'] * factor",
    "config.rate = 2\nconfig.inner.deep = value",
    "items.append(3)\nitems[0] += bonus",
    "await fetch(url)",
    "async for part in stream():\n    print(part)\nasync with session() as s:\n    pass",
    "match command:\n    case [first, *rest]:\n        x = first\n    case {'k': v, **others}:\n        x = v\n    case Point(a=p) | Other(p):\n        x = p\n    case _:\n        x = fallback\nprint(x)",
    "match command:\n    case text if text == wanted:\n        x = 1\n    case colours.RED:\n        x = 2",
    "assert condition, message",
    "raise Problem(code) from cause",
    "x = {}\nx[at] = y\nprint(x[low:high:step])",
    "a = b and (c := d)\nprint(c)",
    "print(*args, **kwargs)",
    "x = y = lambda: z\nx()",
    "if bad:\n    raise ValueError(reason)\nelse:\n    ok = 1\nprint(ok)",
    "for i in range(2):\n    for j in range(i, top):\n        best = j\nprint(best)",
    "def f(x=[n for n in names]):\n    return x\n",
    "import collections\nd = collections.defaultdict(list)\nfor k, v in pairs:\n    d[k].append(v)",
    "(total) = sum(values) if values else zero",
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_analysis_agrees_with_what_running_the_program_does(program: str) -> None:
    names = analyse(program)
    runs = [observe(program, true=True), observe(program, true=False)]
    read = frozenset().union(*(run.reads for run in runs))
    bound = frozenset().union(*(run.bound for run in runs))
    assert read <= {*names.inputs, *names.optional}, "a name was read that the analysis does not take"
    assert bound <= set(names.outputs), "a name was bound that the analysis does not give"


# programs of which two runs see only a part, and classes, whose look-ups CPython does not let be observed
_PARTLY_SEEN = (
    "if bad:",
    "try:\n    raise",
    "@decorate",
    "match command",
    "raise Problem",
    "class ",
)


@pytest.mark.parametrize("program", [p for p in PROGRAMS if not p.startswith(_PARTLY_SEEN)])
def test_the_analysis_takes_for_certain_only_what_some_run_reads(program: str) -> None:
    names = analyse(program)
    runs = [observe(program, true=True), observe(program, true=False)]
    read = frozenset().union(*(run.reads for run in runs))
    assert set(names.inputs) <= read


@pytest.mark.parametrize(
    ("program", "inputs", "optional", "outputs"),
    [
        ("if flag:\n    x = 1\nprint(x)", {"flag"}, {"x"}, {"x"}),
        ("try:\n    f()\nexcept E as e:\n    log(e)", {"f", "E", "log"}, set(), set()),
        ("def unused():\n    return free", set(), {"free"}, {"unused"}),
        ("def f():\n    return late\napply(f)\nlate = 1", {"apply"}, {"late"}, {"f", "late"}),
        ("frame.apply(lambda r: r * k)\nk = 5", {"frame"}, {"k"}, {"k"}),
        ("x = 1\ndel x", set(), set(), set()),
        ("frame.query('a > @limit and b < @top')", {"frame", "limit", "top"}, set(), set()),
        ("class A:\n    def m(self):\n        return free\nA()", {"free"}, set(), {"A"}),
        ("@register\ndef f():\n    return free", {"register", "free"}, set(), {"f"}),
        ("f = g\nf()", {"g"}, set(), {"f"}),
        ("def g():\n    return free\nf = g\nf()", {"free"}, set(), {"f", "g"}),
        ("print(__name__, _, In, get_ipython, display)", set(), set(), set()),
        ("print(__file__)", {"__file__"}, set(), set()),
        ("from helpers import *", set(), set(), set()),
        ("class A(B):\n    name = __qualname__\n    def m(self):\n        super().m(__class__)", {"B"}, set(), {"A"}),
    ],
)
def test_certain_and_optional_inputs_are_told_apart(
    program: str, inputs: set[str], optional: set[str], outputs: set[str]
) -> None:
    names = analyse(program)
    assert (set(names.inputs), set(names.optional), set(names.outputs)) == (inputs, optional, outputs)


@pytest.mark.parametrize(
    ("program", "mutates"),
    [
        ("frame['c'] = 1", {"frame"}),
        ("frame.loc[0, 'c'] += 1", {"frame"}),
        ("config.rate = 2", {"config"}),
        ("items.append(1)", {"items"}),
        ("items.sort()", {"items"}),
        ("y = frame.add(1)", set()),
        ("y = frame.pop('y')", {"frame"}),
        ("frame.drop(columns='a', inplace=True)", {"frame"}),
        ("frame.drop(columns='a', inplace=False)", set()),
        ("model.fit(X, y)", {"model"}),
        ("fitted = model.fit(X, y)", {"model"}),
        ("del frame['c']", {"frame"}),
        ("np.add(a, b, out=c)", {"c"}),
        ("random.shuffle(items)", {"items"}),
        ("heapq.heappush(heap, 1)", {"heap"}),
        ("setattr(config, 'a', 1)", {"config"}),
        ("d.setdefault(k, []).append(1)", {"d"}),
        ("d.get(k).append(1)", {"d"}),
        ("frame.copy().drop('a', inplace=True)", set()),
        ("for row in rows:\n    row['x'] = 1", {"rows"}),
        ("for i, row in frame.iterrows():\n    row['x'] = 1", set()),
        ("alias = frame\nalias['c'] = 1", {"frame"}),
        ("alias = frame\nalias = other()\nalias['c'] = 1", set()),
        ("items = []\nitems.append(1)", set()),
        ("[seen.add(x) for x in xs]", {"seen"}),
        ("found = [frame.add(x) for x in xs]", set()),
        ("[part.fit(x) for part in parts]", {"parts"}),
        ("def change(f, extra):\n    f['c'] = 1\nchange(frame, other)", {"frame"}),
        ("def change(f):\n    f['c'] = 1\nchange(f=frame)", {"frame"}),
        ("def change():\n    frame['c'] = 1\nchange()", {"frame"}),
        ("def change():\n    frame['c'] = 1", set()),
        ("def pure(f):\n    g = []\n    g.append(f)\npure(frame)", set()),
        ("await queue.update(x)", {"queue"}),
    ],
)
def test_changes_in_place_are_seen(program: str, mutates: set[str]) -> None:
    assert set(analyse(program).mutates) == mutates


def test_changing_an_import_or_a_definition_back_is_known() -> None:
    names = analyse("import json\nfrom a.b import c as d\nimport x.y\njson = 3")
    assert names.imports == {"d": "from a.b import c as d", "x": "import x.y"}


def test_the_line_of_the_first_read_is_kept() -> None:
    names = analyse("a = 1\n\nb = a + missing\nc = missing + other")
    assert names.lines == {"missing": 3, "other": 4}


def test_stars_are_noted_with_their_lines() -> None:
    assert analyse("import os\nfrom sys import *\n").stars == (2,)
    assert analyse("import os").stars == ()


def test_a_later_cell_of_a_stage_takes_only_what_its_earlier_cells_do_not_bind() -> None:
    cells = [parse_cell("x = load()\ndef f():\n    return free"), parse_cell("y = x + z\nprint(f())")]
    first, second = analyse_cells(cells)
    assert (first.inputs, first.outputs) == (("load",), ("x", "f"))
    assert set(second.inputs) == {"z", "free"}
    assert set(second.carried) == {"x", "f"}


def test_functions_called_at_the_end_read_what_the_end_does_not_bind() -> None:
    tree = parse_cell("def test_a():\n    assert score > limit\ndef other():\n    return unused\nlimit = 1")
    names = analyse_cells([tree], called="test_")[0]
    assert names.inputs == ("score",)
    assert names.optional == ("unused",)


# IPython

CELLS = [
    ("%time x = y", {"y"}, {"x"}),
    ("%time --no-raise-error x = y\nz = x", {"y"}, {"x", "z"}),
    ("%%time\nx = 1\nz = y", {"y"}, {"x", "z"}),
    ("%%time\n\n    x = 1\n    z = y", {"y"}, {"x", "z"}),
    ("%%capture out\nx = y", {"y"}, {"x", "out"}),
    ("%%capture --no-stderr out\nx = y", {"y"}, {"x", "out"}),
    ("%%capture\nx = y", {"y"}, {"x"}),
    ("%%capture out\n%%time\nx = y", {"y"}, {"x", "out"}),
    ("x = !echo hello", set(), {"x"}),
    ("!echo hello", set(), set()),
    ("%%timeit -n1 -r1\nx = y", {"y"}, set()),
    ("%timeit -n 1 -r 1 x = y", {"y"}, set()),
    ("z = %timeit -n 1 -r 1 -o y", {"y"}, {"z"}),
    ("%%timeit -n1 -r1 t = y\nx = t", {"y"}, set()),
    ("%%time\nfor i in y:\n    !echo {i}", {"y"}, {"i"}),
    ("%prun -q -l 3 x = y()", {"y"}, {"x"}),
    ("a, b = y; a", {"y"}, {"a", "b"}),
    (",y 1", {"y"}, set()),
    ("%env NAME=value\nx = %env NAME", set(), {"x"}),
    ("x = y;", {"y"}, {"x"}),
    ("x = await y()", {"y"}, {"x"}),
    ("for i in y:\n    !echo {i}\n    %time x = i", {"y"}, {"x", "i"}),
    ("y?", set(), set()),
    ("?y", set(), set()),
    ("%matplotlib inline\nx = 1", set(), {"x"}),
    ("%%bash\nx=1\necho $x", set(), set()),
    ("%%bash --out result\necho hi", set(), {"result"}),
    ("%%html\n<b>x</b>", set(), set()),
    ("%%writefile /dev/null\nimport nothing", set(), set()),
    ("# a comment\n\n%%time\nx = y", {"y"}, {"x"}),
    ("\n\n%time x = y", {"y"}, {"x"}),
    ("  x = 1\n  %time z = y", {"y"}, {"x", "z"}),
    (">>> x = 1\n>>> z = x", set(), {"x", "z"}),
    ("%config InlineBackend.figure_format = 'svg'", set(), set()),
]


@pytest.mark.parametrize(("cell", "inputs", "outputs"), CELLS)
def test_ipython_syntax_is_understood(cell: str, inputs: set[str], outputs: set[str]) -> None:
    names = analyse(cell)
    assert (set(names.inputs), set(names.outputs)) == (inputs, outputs)


class _Rows(list[int]):
    """Something that can be called and awaited, and looped over."""

    def __call__(self, *args: object) -> _Rows:
        return self

    def __await__(self) -> Iterator[None]:
        yield from ()


_RUNNABLE = [case for case in CELLS if not case[0].startswith(("# a comment", "%matplotlib", "%config", "y?", "?y"))]


@pytest.mark.parametrize(("cell", "inputs", "outputs"), _RUNNABLE)
def test_ipython_itself_binds_what_the_analysis_says(
    cell: str, inputs: set[str], outputs: set[str], shell: object, capfd: pytest.CaptureFixture[str]
) -> None:
    namespace = shell.user_ns  # type: ignore[attr-defined]
    namespace["y"] = _Rows([1, 2])
    before = set(namespace)
    result = shell.run_cell(cell, store_history=False)  # type: ignore[attr-defined]
    assert result.success
    bound = {name for name in set(namespace) - before if not name.startswith("_")}
    assert bound == outputs


EXPANDED = [
    ("!echo {y}", True),
    ("!echo $y", True),
    ("!echo {len(str(y)) + 1}", True),
    ("!echo {1 if y == 'ab' else 2}", True),
    ("!echo $$y", False),
    ("!echo '{print y' 'y'", False),
    ("%%bash -s {y}\necho $1", True),
    ("%%bash\necho $y {y}", False),
    ("z = !echo {y[0]}\nprint(z)", True),
]


@pytest.mark.parametrize(("cell", "taken"), EXPANDED)
def test_what_a_shell_line_takes_is_what_changes_its_output(
    cell: str, taken: bool, shell: object, capfd: pytest.CaptureFixture[str]
) -> None:
    said = []
    for value in ("ab", "c"):
        shell.user_ns["y"] = value  # type: ignore[attr-defined]
        shell.run_cell(cell, store_history=False)  # type: ignore[attr-defined]
        said.append(capfd.readouterr().out)
    assert (said[0] != said[1]) == taken
    assert ("y" in analyse(cell).optional) == taken


def test_a_builtin_that_somebody_may_bind_is_told_apart() -> None:
    assert analyse("x = max(rows)\nlist = 1\ny = list").shadows == ("max",)
    assert analyse("def f():\n    return sum(rows)\nf()").shadows == ("sum",)


@pytest.mark.parametrize(
    ("cell", "dynamic"),
    [
        ("x = 1\nexec(text)", {2: "exec"}),
        ("%run other.py", {1: "%run"}),
        ("%%cython\ndef f(): pass", {1: "%%cython"}),
        ("globals().update(found)", {1: "globals().update"}),
        ("exec('x = 1')\nglobals().update(a=1)\nexec(text, {})", {}),
    ],
)
def test_code_that_only_exists_when_it_runs_is_told(cell: str, dynamic: dict[int, str]) -> None:
    assert analyse(cell).dynamic == dynamic


def test_what_sql_and_stored_variables_bind_and_may_read() -> None:
    names = analyse("%%sql result << \nselect * from t where a = :low and b::int < {{high}}")
    assert (names.outputs, set(names.optional)) == (("result",), {"low", "high"})
    assert analyse("%store -r a b").outputs == ("a", "b")


def test_what_a_shell_line_may_expand_is_optional() -> None:
    names = analyse("!cp {source} $target '{print $1}' ${{HOME}}\n%cd {folder.name}")
    assert names.inputs == ()
    assert set(names.optional) >= {"source", "target", "folder"}


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("x = 1\ny = = 2", 2),
        ("def f(:\n    pass", 1),
        ("%%time\nx = 1\n\ny = (", 4),
        ("%matplotlib inline\nx = 1\nfor", 3),
        ("\n\nx = 1\nreturn x", 4),
    ],
)
def test_a_syntax_error_tells_the_line_of_the_cell(source: str, line: int) -> None:
    with pytest.raises(SyntaxError) as error:
        parse_cell(source)
    assert error.value.lineno == line


def test_an_invalid_escape_is_no_error_and_no_warning() -> None:
    assert analyse("x = '\\d'").outputs == ("x",)


# programs that nobody thought of

_name = st.sampled_from(["a", "b", "c", "d", "e"])
_value = st.one_of(
    _name,
    _name.map(lambda n: f"{n} + 1"),
    st.just("1"),
    st.tuples(_name, _name).map(lambda p: f"tuple([{p[0]} for {p[0]} in ({p[1]},)])"),
)


def _indented(block: str) -> str:
    return "\n".join(f"    {line}" for line in block.split("\n"))


_simple = st.one_of(
    st.tuples(_name, _value).map(lambda p: f"{p[0]} = {p[1]}"),
    st.tuples(_name, _value).map(lambda p: f"{p[0]} += {p[1]}"),
    _name.map(lambda n: f"print({n})"),
    _name.map(lambda n: f"del {n}"),
    _name.map(lambda n: f"import json as {n}"),
    st.tuples(_name, _name).map(lambda p: f"{p[0]} = lambda: {p[1]}"),
    st.tuples(_name, _name, _name).map(lambda p: f"def {p[0]}():\n    {p[1]} = {p[2]}\n    return {p[1]}"),
    _name.map(lambda n: f"{n}()"),
)
_statement = st.recursive(
    _simple,
    lambda inner: st.one_of(
        st.tuples(_name, inner, inner).map(lambda p: f"if {p[0]}:\n{_indented(p[1])}\nelse:\n{_indented(p[2])}"),
        st.tuples(_name, _name, inner).map(lambda p: f"for {p[0]} in {p[1]}:\n{_indented(p[2])}"),
        st.tuples(inner, _name, inner).map(
            lambda p: f"try:\n{_indented(p[0])}\nexcept Exception as {p[1]}:\n{_indented(p[2])}"
        ),
        st.tuples(_name, _name, inner).map(lambda p: f"with {p[0]} as {p[1]}:\n{_indented(p[2])}"),
    ),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_statement, min_size=1, max_size=6).map("\n".join))
def test_no_program_reads_or_binds_what_the_analysis_does_not_know(program: str) -> None:
    names = analyse(program)
    for true in (True, False):
        seen = observe(program, true=true)
        assert seen.reads <= {*names.inputs, *names.optional}
        assert seen.bound <= {*names.outputs}


@settings(max_examples=60, deadline=None)
@given(st.lists(_statement, min_size=2, max_size=6), st.data())
def test_parting_a_program_into_cells_changes_nothing_but_the_parting(
    statements: list[str], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(statements) - 1))
    whole = analyse("\n".join(statements))
    parts = analyse_cells([parse_cell("\n".join(statements[:cut])), parse_cell("\n".join(statements[cut:]))])
    taken = {name for part in parts for name in part.inputs}
    assert taken == set(whole.inputs)
