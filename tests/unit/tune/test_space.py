"""What a person writes of a search, and what it means."""

from __future__ import annotations

import math

import pytest

from mlnb.errors import UsageError
from mlnb.pipeline.graph import Parameter
from mlnb.tune.space import Axis, digest_of_space, read_space

C, DEPTH, MODEL, FLAG, LAYERS = (
    Parameter("C", "float", 1.0, 1),
    Parameter("depth", "int", 3, 1),
    Parameter("model", "str", "a", 1),
    Parameter("flag", "bool", True, 1),
    Parameter("layers", "list", [8], 1),
)
ALL = (C, DEPTH, MODEL, FLAG, LAYERS)


def test_each_form_of_values_is_read() -> None:
    axes = read_space(
        ALL, ["C=log(1e-3,10)", "depth=uniform(2, 8)", "model=[a,'b c']", "flag=[true,false]", "layers=[[8],[8,4]]"]
    )
    assert axes == (
        Axis("C", "log", 0.001, 10.0),
        Axis("depth", "uniform", 2.0, 8.0, whole=True),
        Axis("model", "choice", choices=('"a"', '"b c"')),
        Axis("flag", "choice", choices=("true", "false")),
        Axis("layers", "choice", choices=("[8]", "[8, 4]")),
    )


def test_an_axis_knows_how_many_values_it_has() -> None:
    axes = read_space(ALL, ["C=uniform(0,1,0.25)", "depth=uniform(2,8)", "model=[a,b]"])
    assert [axis.size for axis in axes] == [5, 7, 2]
    assert math.isinf(read_space(ALL, ["C=uniform(0,1)"])[0].size)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["C"], "does not say which values"),
        (["c=log(1,2)"], "no parameter `c`"),
        (["C=log(0,2)"], "begins at 0"),
        (["C=log(2,1)"], "is empty"),
        (["C=log(1)"], "takes two bounds"),
        (["C=[1,two]"], "`C` is of type float"),
        (["depth=uniform(1.5,3)"], "`depth` is of type int"),
        (["model=log(1,2)"], "has no log range"),
        (["C=gauss(1,2)"], "is not a set of values"),
        (["C=log(1,2"], "cannot be read"),
        (["C=[__import__('os')]"], "is not a plain value"),
        (["C=[1]", "C=[2]"], "searched twice"),
        ([], "No parameter is to be searched"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_a_sentence(texts: list[str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_space(ALL, texts)
    assert said in refused.value.problem
    assert refused.value.remedy.endswith((".", '".', "?"))


def test_another_search_has_another_digest_and_the_same_one_the_same() -> None:
    first = read_space(ALL, ["C=log(1,2)"])
    assert digest_of_space(first, "auc") == digest_of_space(read_space(ALL, ["C=log(1, 2.0)"]), "auc")
    assert digest_of_space(first, "auc") != digest_of_space(first, "f1")
    assert digest_of_space(first, "auc") != digest_of_space(read_space(ALL, ["C=log(1,3)"]), "auc")
