"""Every spelling of a mark makes the same Mark; what is misspelt is refused with a suggestion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.errors import MarkError
from mlnb.notebook.document import Cell
from mlnb.notebook.marks import OPTIONS, Mark, is_kale, mark_of, parse_mark


def _mark(source: str, *tags: str) -> Mark:
    mark = parse_mark(source, tags, cell=7)
    assert mark is not None
    return mark


@pytest.mark.parametrize(
    ("source", "tags"),
    [
        ("%%stage train --metrics auc,f1 --after prepare\nfit()", ()),
        ("%%stage train --metrics=auc,f1 --after=prepare\nfit()", ()),
        ('%%stage  train  --metrics "auc, f1" --after prepare  # as in the paper\nfit()', ()),
        ("\n%%stage train --after prepare --metrics auc --metrics f1\nfit()", ()),
        ("#| stage: train\n#| metrics: auc,f1\n#| after: prepare\nfit()", ()),
        ("#|stage:train\n# a comment\n#| metrics: [auc, f1]\n#| after: 'prepare'\nfit()", ()),
        ("#| stage: train\n#| metrics: auc\n#| metrics: f1\n#| after: prepare\n#| echo: false\nfit()", ()),
        ("%%stage train --after prepare\n#| metrics: auc,f1\nfit()", ()),
        ("#| metrics: auc,f1\nfit()", ("step:train", "prev:prepare", "my-own-tag")),
        ("#| metrics: auc,f1\nfit()", ("block:train", "prev:prepare")),
    ],
)
def test_all_spellings_of_a_stage_say_the_same(source: str, tags: tuple[str, ...]) -> None:
    mark = _mark(source, *tags)
    assert (mark.kind, mark.name) == ("stage", "train")
    assert dict(mark.options) == {"metrics": ("auc", "f1"), "after": ("prepare",)}


def test_a_deploy_keeps_quoted_gates_in_their_order() -> None:
    mark = _mark(
        "%%deploy delays --model model --sample X_test --gate \"auc >= 0.80\" --gate='latency_p99_ms <= 20' "
        "--to staging\ndef preprocess(rows): ..."
    )
    assert (mark.kind, mark.name) == ("deploy", "delays")
    assert mark.options["gate"] == ("auc >= 0.80", "latency_p99_ms <= 20")
    assert (mark.one("model"), mark.one("sample"), mark.one("to")) == ("model", "X_test", "staging")
    commented = _mark(
        "#| deploy: delays\n#| model: model\n#| sample: X_test\n#| gate: auc >= 0.80\n#| gate: latency_p99_ms <= 20\n"
        "#| to: staging"
    )
    assert dict(commented.options) == dict(mark.options)


@pytest.mark.parametrize(
    ("source", "tags", "kind", "name"),
    [
        ("%%setup\nimport numpy", (), "setup", ""),
        ("#| setup\nimport numpy", (), "setup", ""),
        ("#| setup: true\nimport numpy", (), "setup", ""),
        ("import numpy", ("imports",), "setup", ""),
        ("def f(): ...", ("functions", "hide-input"), "setup", ""),
        ("%%test train\nassert True", (), "test", "train"),
        ("#| test: train\nassert True", (), "test", "train"),
        ("%%test\nassert True", (), "test", ""),
        ("n = 1", ("parameters",), "parameters", ""),
        ("n = 1", ("pipeline-parameters",), "parameters", ""),
        ("print(auc)", ("pipeline-metrics",), "metrics", ""),
        ("%%stage train", ("skip",), "skip", ""),
        ("n = 2", ("injected-parameters",), "skip", ""),
    ],
)
def test_every_kind_of_mark_is_read(source: str, tags: tuple[str, ...], kind: str, name: str) -> None:
    mark = _mark(source, *tags)
    assert (mark.kind, mark.name) == (kind, name)


@pytest.mark.parametrize(
    ("source", "tags"),
    [
        ("x = 1", ()),
        ("", ()),
        ("x = 1", ("remove-input", "raises-exception", "my:tag", "nbval-skip", "prev:prepare")),
        ("#| echo: false\n#| label: fig-one\n#| output: false\nplot()", ()),
        ("#| export\ndef f(): ...", ()),
        ("#| default_exp core", ()),
        ("%%time\nx = 1", ()),
        ("%%bash\nls", ()),
        ("%%ipytest\ndef test_x(): ...", ()),
        ("%%sql\nselect 1", ()),
        ("%matplotlib inline", ()),
        ("text = '''\n%%stage train\n#| stage: x\n'''", ()),
        ("%%writefile mark.py\nx = 1\n#| stage: train\n", ()),
        ("%%writefile a.txt\nsome\n%%stage train\n", ()),
        ("#!/usr/bin/env python\n# stage: train\nx = 1", ()),
    ],
)
def test_what_is_not_ours_is_no_mark_and_no_error(source: str, tags: tuple[str, ...]) -> None:
    assert parse_mark(source, tags) is None


@pytest.mark.parametrize(
    ("source", "tags", "problem", "remedy"),
    [
        ("%%stge train", (), "unknown mark `%%stge`", "Did you mean `%%stage`?"),
        ("%%Stage train", (), "unknown mark `%%Stage`", "Did you mean `%%stage`?"),
        ("%%depoy m", (), "unknown mark `%%depoy`", "Did you mean `%%deploy`?"),
        ("%%step train", (), "unknown mark `%%step`", "Did you mean `%%stage`?"),
        ("#| stge: train\nx = 1", (), "unknown mark `#| stge:`", "Did you mean `#| stage:`?"),
        ("#| stage train", (), "without a colon", "Write `#| stage: train`."),
        ("%stage train", (), "line magic `%stage`", "Did you mean `%%stage`?"),
        ("%%stage train --metric auc", (), "unknown option `--metric` in `%%stage`", "Did you mean `--metrics`?"),
        ("%%stage train -metrics auc", (), "unknown option `-metrics`", "Did you mean `--metrics`?"),
        ("%%stage train --zzz 1", (), "unknown option `--zzz`", "It takes `--metrics`"),
        ("%%test train --metrics auc", (), "unknown option `--metrics` in `%%test`", "takes no options"),
        ("#| stage: train\n#| metrcs: auc", (), "unknown option `#| metrcs:`", "Did you mean `#| metrics:`?"),
        ("%%deploy d --model m --sample X --gates 'a>1'", (), "unknown option `--gates`", "Did you mean `--gate`?"),
        ("%%deploy d --model m --sample X --gate auc >= 0.8", (), "`>=` too much", "quote a value that holds spaces"),
        ("%%stage train --metrics auc f1", (), "`f1` too much", "Part several names by commas"),
        ("%%stage train test", (), "`test` too much", "commas"),
        ("%%setup things", (), "`things` too much", "commas"),
        ("%%stage train --metrics 'auc", (), "quote that is not closed", "Close the quote."),
        ("%%stage train --metrics", (), "gives `--metrics` no value", "Write `--metrics auc,f1`"),
        ("%%stage train --metrics --slices a", (), "gives `--metrics` no value", "leave it out"),
        ("%%stage train --metrics acc.mean", (), "`acc.mean`, which is not the name of a variable", "assign"),
        ("%%stage", (), "`stage` without a name", "`%%stage train`"),
        ("%%deploy", (), "`deploy` without a name", "--model model"),
        ("%%deploy d --sample X", (), "deploys `d` without `--model`", "Name the variable"),
        ("%%deploy d --model m", (), "deploys `d` without `--sample`", "--sample X_test"),
        ("%%deploy d --model m --model n --sample X", (), "says `--model` twice, `m`, `n`", "Keep one"),
        ("%%stage ../x", (), "`../x`, which cannot name a stage", "Use letters"),
        ("%%stage train", ("step:other",), "two marks, `%%stage train` and `stage other (a tag)`", "Keep one"),
        ("%%stage train", ("parameters",), "two marks", "Keep one"),
        ("#| stage: train\n#| test: train", (), "two marks", "Keep one"),
        ("%%stage train --metrics a\n#| metrics: b", (), "says `metrics` twice, `a`, `b`", "Keep one"),
        ("# Train\n%%stage train\nx = 1", (), "`%%stage train` below its first line", "Move it to the first line"),
        ("%%time\n%%stage train\nx = 1", (), "`%%stage train` below its first line", "Move it to the first line"),
        ("x = 1\n#| stage: train", (), "`#| stage: train` below code", "Move it to the top"),
    ],
)
def test_a_bad_mark_is_refused_with_its_cell_and_a_remedy(
    source: str, tags: tuple[str, ...], problem: str, remedy: str
) -> None:
    with pytest.raises(MarkError) as refused:
        parse_mark(source, tags, cell=7)
    assert refused.value.problem.startswith("Cell 7 ")
    assert problem in refused.value.problem
    assert remedy in refused.value.remedy
    assert refused.value.cell == 7


def test_a_live_cell_has_no_number_to_be_told() -> None:
    with pytest.raises(MarkError, match=r"^The cell has an unknown mark"):
        parse_mark("%%stge x")


def test_the_body_keeps_its_line_numbers() -> None:
    source = "%%stage train --metrics auc\nfirst()\nsecond()"
    body = _mark(source).body
    assert body == "# %%stage train --metrics auc\nfirst()\nsecond()"
    assert _mark("#| stage: train\nfirst()").body == "#| stage: train\nfirst()"


def test_only_code_cells_have_marks() -> None:
    assert mark_of(Cell(1, "a", "markdown", "%%stage train", ("parameters",))) is None
    assert mark_of(Cell(1, "a", "code", "%%stage train", ())) is not None


def test_kale_is_told_by_its_step_tags() -> None:
    assert is_kale(("step:load",))
    assert is_kale(("block:load", "prev:x"))
    assert not is_kale(("skip", "imports", "step:"))


def test_every_option_has_help_for_completion() -> None:
    options = [option for table in OPTIONS.values() for option in table.values()]
    assert options
    assert all(option.help and option.metavar for option in options)


_names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


@given(_names, st.lists(_names, unique=True, max_size=4), st.lists(_names, unique=True, max_size=3))
def test_magic_and_comments_agree_for_any_names(name: str, metrics: list[str], after: list[str]) -> None:
    options = {"metrics": metrics, "after": after}
    magic = f"%%stage {name} " + " ".join(f"--{key} {','.join(values)}" for key, values in options.items() if values)
    comments = [f"#| stage: {name}"] + [f"#| {key}: {', '.join(values)}" for key, values in options.items() if values]
    one, other = _mark(f"{magic}\nx = 1"), _mark("\n".join([*comments, "x = 1"]))
    assert (one.kind, one.name, dict(one.options)) == (other.kind, other.name, dict(other.options))
