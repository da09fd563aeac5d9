from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.errors import RegistryError
from mlnb.registry.reference import Reference, check_name, hint, parse_reference

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", fullmatch=True)


def test_a_number_and_an_alias_are_told_apart() -> None:
    assert parse_reference("delays/7") == Reference("delays", number=7)
    assert parse_reference("delays@production") == Reference("delays", alias="production")


@given(NAMES, st.integers(1, 999_999_999))
def test_a_numbered_reference_is_read_as_it_is_written(model: str, number: int) -> None:
    assert parse_reference(f"{model}/{number}") == Reference(model, number=number)
    assert str(Reference(model, number=number)) == f"{model}/{number}"


@given(NAMES, NAMES)
def test_an_aliased_reference_is_read_as_it_is_written(model: str, alias: str) -> None:
    assert parse_reference(f"{model}@{alias}") == Reference(model, alias=alias)
    assert str(Reference(model, alias=alias)) == f"{model}@{alias}"


@pytest.mark.parametrize(
    "text",
    [
        "", "delays", "delays/", "delays/0", "delays/-1", "delays/07", "delays/1.0", "delays/7\n", "delays/٧", "/7",
        "delays/7/8", "delays@", "@production", "delays@pro duction", "delays@a@b", "delays/9999999999", "../etc/7",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(RegistryError) as caught:
        parse_reference(text)
    assert caught.value.exit_code == 2


def test_a_bare_model_is_told_how_to_name_a_version() -> None:
    with pytest.raises(RegistryError, match=r"'delays' names no version\. Write it as delays/7 or delays@production\."):
        parse_reference("delays")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "a\n", "a\0", "é", "x" * 65, "C:", "a;b", "${x}", "{{x}}"],
)
def test_a_name_that_could_leave_its_folder_or_its_line_is_refused(name: str) -> None:
    with pytest.raises(RegistryError, match="cannot be the name of an alias") as caught:
        check_name("alias", name)
    assert caught.value.alias == name


@given(NAMES)
def test_a_plain_name_is_taken(name: str) -> None:
    assert check_name("model", name) == name


def test_the_hint_names_the_nearest_or_all() -> None:
    assert hint("prodution", ["staging", "production"]) == "Did you mean 'production'?"
    assert hint("prod", ["staging", "production"]) == "Did you mean 'production'?"
    assert hint("xyz", ["staging", "production"]) == "Known: production, staging."
    assert hint("xyz", []) == "There is none yet."
