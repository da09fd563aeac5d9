"""Gates in words stand for a number and its usual limit; everything else stays as it was written."""

from __future__ import annotations

import pytest

from mlnb.errors import UsageError
from mlnb.model.gate_words import WORDS, family, how_written, spelled_out
from mlnb.registry.gates import parse_gate


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("better_than_champion auc", "auc_gain_low > 0"),
        (" better_than_champion  auc by 0.01 ", "auc_gain_low > 0.01"),
        ("better_than_champion auc[origin=JFK]", "auc_gain_low[origin=JFK] > 0"),
        ("no_worse_than_champion rmse within 0.5", "rmse_gain_low >= -0.5"),
        ("no_worse_slice auc", "auc_worst_slice_gain_high >= 0"),
        ("no_worse_slice auc within 2e-2", "auc_worst_slice_gain_high >= -2e-2"),
        ("signature_compatible", "incompatible_changes <= 0"),
        ("parity_passed", "parity_passed == 1"),
        ("tests_passed", "tests_passed >= 1"),
        ("tests_passed >= 12", "tests_passed >= 12"),
        ("signature_valid", "signature_valid == 1"),
        ("approved", "approvals >= 1"),
        ("approved by 2", "approvals >= 2"),
    ],
)
def test_words_stand_for_a_number_and_its_limit(text: str, gate: str) -> None:
    assert str(parse_gate(text)) == gate
    assert str(parse_gate(gate)) == gate


@pytest.mark.parametrize("word", sorted(WORDS))
def test_every_word_is_read_as_its_own_help_says(word: str) -> None:
    written = how_written(word).replace("METRIC", "auc").replace("NUMBER", "0.5")
    for text in {written.replace("[", "").replace("]", ""), written.partition(" [")[0]}:
        assert family(parse_gate(text).metric)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("better_than_champion", "Write it as 'better_than_champion METRIC [by NUMBER]'."),
        ("better_than_champion auc within 1", "Write it as 'better_than_champion METRIC [by NUMBER]'."),
        ("no_worse_than_champion auc", "Write it as 'no_worse_than_champion METRIC within NUMBER'."),
        ("approved auc", "Write it as 'approved [by NUMBER]'."),
        ("signature_compatible by 1", "Write it as 'signature_compatible'."),
    ],
)
def test_words_that_say_too_little_or_too_much_are_answered_with_how_to_write_them(text: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_gate(text)
    assert caught.value.remedy == remedy
    assert spelled_out(text) == text


def test_a_metric_whose_name_begins_like_a_measured_number_is_the_runs_own() -> None:
    own = ("start_score", "load_rps_peak", "tests_passed_share", "size_mbit", "approvals_rate", "signature_validity")
    assert {family(name) for name in own} == {""}
    measured = ("start_s", "latency_p99_ms", "package_tests_passed", "fairness_gap[column=sex]", "drift_max", "size_mb")
    assert [family(name) for name in measured] == ["load", "load", "tests", "fairness", "drift", "size"]
