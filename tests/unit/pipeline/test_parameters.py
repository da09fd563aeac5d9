"""The parameters cell declares typed defaults; -p and -f give values that are checked against them."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlnb.errors import ParameterError, UsageError
from mlnb.pipeline.graph import Parameter, Pipeline
from mlnb.pipeline.parameters import read_values

Plan = Callable[..., Pipeline]


@pytest.mark.parametrize(
    ("line", "kind", "default"),
    [
        ("n = 1", "int", 1),
        ("n = -1", "int", -1),
        ("n = 0.5", "float", 0.5),
        ("n = True", "bool", True),
        ("n = 'a'", "str", "a"),
        ("n = [1, 'a']", "list", [1, "a"]),
        ("n = {'a': [1]}", "dict", {"a": [1]}),
        ("n = None", "any", None),
        ("n: int = 1", "int", 1),
        ("n: float = 1", "float", 1),
        ("n: 'float' = 1.5", "float", 1.5),
        ("n: list[int] = []", "list", []),
        ("n: typing.Dict[str, int] = {}", "dict", {}),
        ("n: int | None = None", "int | None", None),
        ("n: None | str = None", "str | None", None),
        ("n: Optional[float] = 1", "float | None", 1),
        ("n: typing.Union[int, None] = 3", "int | None", 3),
        ("n: int | str = 3", "any", 3),
        ("n: Any = 3", "any", 3),
        ("n: Something = 3", "int", 3),
    ],
)
def test_the_type_is_the_annotation_or_that_of_the_default(plan: Plan, line: str, kind: str, default: object) -> None:
    imports = "import typing\nfrom typing import Any, Optional\nSomething = int"
    pipeline = plan(imports, (line, ["parameters"]), "%%stage a\nx = n")
    assert pipeline.parameters == (Parameter("n", kind, default, 2),)  # type: ignore[arg-type]
    assert pipeline.stage("a").parameters == ("n",)


def test_what_is_no_json_literal_is_bound_but_is_no_parameter(plan: Plan) -> None:
    pipeline = plan(
        ("from datetime import date\nday = date(2013, 1, 1)\npair = (1, 2)\nn = 1", ["parameters"]),
        "%%stage a\nx = day, pair, n",
    )
    assert [parameter.name for parameter in pipeline.parameters] == ["n"]
    assert pipeline.stage("a").parameters == ("n",)


def test_a_later_parameters_cell_wins(plan: Plan) -> None:
    pipeline = plan(("n = 1\nm = 1", ["parameters"]), ("n = 2.5", ["parameters"]), "%%stage a\nx = n")
    assert pipeline.parameters == (Parameter("n", "float", 2.5, 2), Parameter("m", "int", 1, 1))


_KNOWN = (
    Parameter("n", "int", 1, 2),
    Parameter("rate", "float", 0.5, 2),
    Parameter("fast", "bool", False, 2),
    Parameter("path", "str", "a.csv", 2),
    Parameter("columns", "list", ["a"], 2),
    Parameter("options", "dict", {}, 2),
    Parameter("limit", "int | None", None, 2),
    Parameter("free", "any", None, 2),
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n=5", 5),
        ("n= 5 ", 5),
        ("rate=2", 2.0),
        ("rate=1e-3", 0.001),
        ("fast=true", True),
        ("fast=No", False),
        ("fast=1", True),
        ("path=x = y, z.csv", "x = y, z.csv"),
        ("path=", ""),
        ("path=5", "5"),
        ("columns=['a', 'b']", ["a", "b"]),
        ('columns=["a", null]', ["a", None]),
        ('options={"a": {"b": 1}}', {"a": {"b": 1}}),
        ("limit=None", None),
        ("limit=null", None),
        ("limit=7", 7),
        ("free=7", 7),
        ("free=text", "text"),
        ("free=[1]", [1]),
        ("free=none", None),
    ],
)
def test_a_text_is_read_by_the_type(text: str, value: object) -> None:
    name = text.partition("=")[0]
    read = read_values(_KNOWN, [text])[name]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text",
    ["n=five", "n=1.5", "n=true", "rate=nan", "rate=inf", "rate=x", "fast=2", "columns=1", "columns=a,b", "options=[1]",
     "options={1: 2}", "limit=x", "columns=(1, 2)"],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_with_an_example(text: str) -> None:
    name = text.partition("=")[0]
    kind = next(parameter.type for parameter in _KNOWN if parameter.name == name)
    with pytest.raises(ParameterError) as refused:
        read_values(_KNOWN, [text])
    assert f"`{name}` is of type {kind}" in refused.value.problem
    assert f"-p '{name}=" in refused.value.remedy
    assert refused.value.parameter == name


def test_an_unknown_parameter_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ParameterError) as refused:
        read_values(_KNOWN, ["colums=[]"])
    assert refused.value.problem == "The notebook has no parameter `colums`."
    assert refused.value.remedy == "Did you mean `columns`?"
    with pytest.raises(ParameterError, match="tag a cell `parameters`"):
        read_values((), ["n=1"])
    with pytest.raises(UsageError, match="`-p n` is not an assignment"):
        read_values(_KNOWN, ["n"])


def test_assignments_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("n: 3\nrate: 2\npath: 2013-01-01\ncolumns: [x]\n", "utf-8")
    values = read_values(_KNOWN, ["n=4", "n=5"], file)
    assert values["n"] == 5
    assert (values["rate"], type(values["rate"])) == (2.0, float)
    assert values["path"] == "2013-01-01"
    assert values["columns"] == ["x"]
    assert values["fast"] is False
    assert list(values) == [parameter.name for parameter in _KNOWN]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.yaml", "a: [", "is not YAML"),
        ("a.yaml", "- 1", "is not a mapping"),
        ("a.yaml", "1: 2", "is not a mapping"),
        ("a.json", '{"n": "1"}', "is of type int; '1' is not"),
        ("a.json", '{"zz": 1}', "no parameter `zz`"),
        ("a.yaml", "limit: 2013-01-01", "is of type int"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=message):
        read_values(_KNOWN, [], path)


def test_a_missing_file_is_refused_and_an_empty_one_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_values(_KNOWN, [], tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("", "utf-8")
    assert read_values(_KNOWN, [], tmp_path / "empty.yaml")["n"] == 1


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(_json_values, max_size=3))
def test_any_list_that_json_can_say_comes_through(values: list[object]) -> None:
    known = (Parameter("v", "list", [], 1),)
    assert read_values(known, [f"v={json.dumps(values)}"])["v"] == values
    assert read_values(known, [f"v={values!r}"])["v"] == ast.literal_eval(repr(values))


@given(st.dictionaries(st.sampled_from(["n", "free"]), st.integers(-5, 5)))
def test_a_yaml_file_says_what_a_json_file_says(values: dict[str, int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "a.yml"), Path(folder, "a.json")
        one.write_text(yaml.safe_dump(values), "utf-8")
        other.write_text(json.dumps(values), "utf-8")
        assert read_values(_KNOWN, [], one) == read_values(_KNOWN, [], other)
