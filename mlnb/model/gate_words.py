"""What a person writes as a gate, ``better_than_champion auc by 0.01``, becomes METRIC OPERATOR NUMBER.

A gate compares one number with a limit. Some numbers mlnb measures itself when the gate is judged; those that compare
with the *champion*, the version that holds the alias, are::

    auc_gain, auc_gain_low, auc_gain_high          by how much better it is, and the interval; of a slice with
    auc_gain_low[origin=JFK]                       [column=value]; more is better whichever way the metric goes
    auc_worst_slice_gain, ..._low, ..._high        the least of all slices; their intervals hold together
    incompatible_changes                           what callers of the alias would have to change

and those of the version, or of what people did::

    parity_passed, parity_max_abs, parity_flips    the export against the estimator
    tests_passed, tests_failed                     the notebook's own tests, in the run and with the package
    latency_p99_ms, throughput_rps, start_s, ...   the load test of its Bento
    drift_max, drift_columns                       what the service was asked lately, against what the version learned
    fairness_gap, selection_rate_gap[column=sex]   the largest difference between groups
    size_mb, model_mb                              its package, and the model in it
    signature_valid                                whether all signatures hold and are of keys that this user trusts
    approvals                                      people who approved it and neither registered nor promote it

Words stand for the usual limits of these (`WORDS`). Any other name is a number that the run has measured, or one of a
plug-in's. A number of these names that a notebook gives counts for nothing (`is_ours`).
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass

from mlnb.model.metric_names import PATTERN, SLICE, is_metric

GAIN = re.compile(
    r"(?P<metric>[A-Za-z_][A-Za-z0-9_-]*?)(?P<slices>_worst_slice)?_gain(?P<end>_low|_high)?(?P<part>\[[^\[\]]*\])?"
)
"""A number that compares with the champion: its metric, and which of the numbers it is."""

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "callers": ("incompatible_",),
    "parity": ("parity_",),
    "tests": ("tests_passed", "tests_failed", "package_tests_"),
    "load": ("latency_", "skew_", "throughput_", "load_rps", "start_s"),
    "drift": ("drift_",),
    "fairness": ("fairness_gap",),
    "size": ("size_mb", "model_mb"),
    "signature": ("signature_valid",),
    "approvals": ("approvals",),
}
"""The families of numbers that mlnb measures itself: their names, or how these begin (what ends with ``_``)."""

TRIAL = re.compile(
    r"latency_(?:p[0-9]+|max|mean)_ms|skew_(?:max_abs|flips)|load_rps|throughput_rps|start_s"
    r"|package_tests_(?:passed|beyond)"
)
"""A number that the trial of a version's Bento gives."""

_EXACT = re.compile(
    r"incompatible_changes|parity_(?:passed|max_abs|flips)|tests_(?:passed|failed)|drift_(?:max|columns)"
    r"|size_mb|model_mb|signature_valid|approvals"
    r"|(?:(?:fairness|selection_rate|(?:true|false)_positive_rate|accuracy|bias|mean_absolute_error|mean_prediction)_gap"
    r"|demographic_parity_difference|equalized_odds_difference)(?:\[column=[^\[\]]+\])?"
)
_GROUPS = re.compile(r"[a-z_]+(?:_gap|_parity_difference|_odds_difference)(?:\[column=[^\[\]]+\])?")


@dataclass(frozen=True, slots=True)
class Word:
    """A gate in words.

    Attributes
    ----------
    metric : str
        The number's name; ``{}`` stands for the metric that is named behind the word.
    operator : str
        As in a gate.
    limit : str
        Where none is written.
    by : str
        What stands before a limit of one's own, ``by`` or ``within``; empty where none may be written.
    negative : bool
        Whether the limit is what is written with the other sign.
    """

    metric: str
    operator: str
    limit: str
    by: str = ""
    negative: bool = False


WORDS: Mapping[str, Word] = {
    "better_than_champion": Word("{}_gain_low", ">", "0", "by"),
    "no_worse_than_champion": Word("{}_gain_low", ">=", "", "within", negative=True),
    "no_worse_slice": Word("{}_worst_slice_gain_high", ">=", "0", "within", negative=True),
    "signature_compatible": Word("incompatible_changes", "<=", "0"),
    "parity_passed": Word("parity_passed", "==", "1"),
    "tests_passed": Word("tests_passed", ">=", "1"),
    "signature_valid": Word("signature_valid", "==", "1"),
    "approved": Word("approvals", ">=", "1", "by"),
}
"""``better_than_champion auc [by 0.01]``: surely better. ``no_worse_than_champion auc within 0.01``: surely not worse
by more than that. ``no_worse_slice auc [within 0.02]``: no slice is surely worse by more. ``approved [by 2]``."""

_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_WORDED = re.compile(
    rf"\s*(?P<word>[a-z_]+)(?:\s+(?!by\s|within\s)(?P<metric>{PATTERN})(?P<part>{SLICE})?)?"
    rf"(?:\s+(?P<by>by|within)\s+(?P<limit>{_NUMBER}))?\s*"
)


def spelled_out(text: str) -> str:
    """Return a gate in words as METRIC OPERATOR NUMBER; any other text as it is.

    Examples
    --------
    >>> spelled_out("better_than_champion auc by 0.01")
    'auc_gain_low > 0.01'
    >>> spelled_out("no_worse_slice auc within 0.02")
    'auc_worst_slice_gain_high >= -0.02'
    >>> spelled_out("approved")
    'approvals >= 1'
    >>> spelled_out("auc >= 0.8")
    'auc >= 0.8'
    """
    found = _WORDED.fullmatch(text)
    word = WORDS.get(found["word"]) if found else None
    if found is None or word is None:
        return text
    limit = found["limit"] if found["limit"] is not None else word.limit
    takes = "{}" in word.metric
    if takes != (found["metric"] is not None) or not limit or (found["by"] or word.by) != word.by:
        return text
    name = word.metric.format(found["metric"]) + (found["part"] or "")
    return f"{name} {word.operator} {'-' if word.negative and float(limit) else ''}{limit}"


def how_written(word: str) -> str:
    """Return how a gate of that word is written: ``better_than_champion METRIC [by NUMBER]``.

    Examples
    --------
    >>> how_written("no_worse_than_champion")
    'no_worse_than_champion METRIC within NUMBER'
    """
    known = WORDS[word]
    metric = " METRIC" if "{}" in known.metric else ""
    number = f" {known.by} NUMBER" if known.by else ""
    return f"{word}{metric}{f' [{number[1:]}]' if number and known.limit else number}"


def refused(text: str) -> str:
    """Return what to write instead of a gate that begins with a word but is none; empty where it does not.

    Examples
    --------
    >>> refused("no_worse_than_champion auc")
    "Write it as 'no_worse_than_champion METRIC within NUMBER'."
    """
    word = next(iter(text.split()), "")
    return f"Write it as '{how_written(word)}'." if word in WORDS else ""


def family(name: str) -> str:
    """Return the family of a number that mlnb measures itself, ``champion`` or one of `FAMILIES`; empty for others.

    Examples
    --------
    >>> family("auc_gain_low[origin=JFK]"), family("latency_p99_ms"), family("auc")
    ('champion', 'load', '')
    """
    whole = name.partition("[")[0]
    for kind, beginnings in FAMILIES.items():
        if any(whole == one or (one.endswith("_") and name.startswith(one)) for one in beginnings):
            return kind
    if GAIN.fullmatch(name):
        return "champion"
    return "fairness" if _GROUPS.fullmatch(name) else ""


def is_ours(name: str, known: Container[str] = ()) -> bool:
    """Say whether mlnb alone measures the number of that name, whatever a notebook calls so.

    Parameters
    ----------
    known : container of str
        Names of what the run has measured: a gain in one of them is ours, too.

    Examples
    --------
    >>> is_ours("approvals"), is_ours("auc_gain_low"), is_ours("latency_mae"), is_ours("information_gain")
    (True, True, False, False)
    """
    if _EXACT.fullmatch(name) or TRIAL.fullmatch(name):
        return True
    gain = GAIN.fullmatch(name)
    return gain is not None and (is_metric(gain["metric"]) or gain["metric"] in known)
