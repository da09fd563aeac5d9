"""A version, what was measured of it and what a person wrote become its model card.

The sections are those of Mitchell et al. (2019), with the Hugging Face template's *out-of-scope use*, *how to use* and
*citation*, and with what a packaged model has besides: fidelity, monitoring and lineage. A person's words come first in
their section. Facts are stated where they are known; where only a person can know, the card says who has to write what.

References
----------
Mitchell et al., Model Cards for Model Reporting, FAT* 2019, https://doi.org/10.1145/3287560.3287596
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mlnb.model.card import Block, Card, Section, Sentence, Written
from mlnb.registry import card_sections as sections
from mlnb.registry.card_measured import analyses, explained
from mlnb.registry.card_sections import Known
from mlnb.registry.card_words import facts_of, words_of

if TYPE_CHECKING:
    from mlnb.model.evaluation import Evaluation
    from mlnb.model.importance import Importance
    from mlnb.registry.audit import Audit
    from mlnb.registry.gates import Verdict
    from mlnb.registry.registry import Registry
    from mlnb.registry.version import Version
    from mlnb.store.files import FileStore

_TITLES: Mapping[str, str] = {
    "model_details": "Model details",
    "intended_use": "Intended use",
    "out_of_scope": "Out-of-scope use",
    "how_to_use": "How to use it",
    "factors": "Factors",
    "metrics": "Metrics",
    "evaluation_data": "Evaluation data",
    "training_data": "Training data",
    "quantitative_analyses": "Quantitative analyses",
    "fairness": "Fairness",
    "explanations": "Explanations",
    "fidelity": "Fidelity of the package",
    "monitoring": "Monitoring",
    "ethical_considerations": "Ethical considerations",
    "caveats": "Caveats and recommendations",
    "licence": "Licence",
    "lineage": "Lineage",
    "citation": "Citation",
    "contact": "Contact",
}
_ASKED = ("intended_use", "ethical_considerations")
_TAGS = {
    "classifier": "tabular-classification",
    "regressor": "tabular-regression",
    "forecaster": "time-series-forecasting",
}


def compose(known: Known) -> Card:
    """Return the card."""
    version = known.version
    task = str(version.signature.get("task", "model"))
    lead = f"{_a(task)} that answers {sections.answers(version.signature)}."
    return Card(
        version.ref,
        lead,
        tuple(_headline(known)),
        tuple(_sections(known)),
        _metadata(known, task),
        {
            **version.to_json(),
            "licence": known.licence,
            "evidence": dict(known.evidence),
            "verdicts": [verdict.to_json() for verdict in known.verdicts],
            "card": {**known.facts.to_json(), "words": [one.to_json() for one in known.words]},
            "importance": None if known.importance is None else known.importance.to_json(),
        },
    )


def card_of(
    version: Version,
    judged: tuple[Mapping[str, float], Sequence[Verdict]],
    registry: Registry,
    store: FileStore,
    audit: Audit,
) -> Card:
    """Return the card of a version; `judged` is what was measured of it last, and what its gates found."""
    evidence, verdicts = judged
    evaluations, facts = registry.evaluations(version), facts_of(version, store)
    words, importance = words_of(version, store, audit), importance_of(version, store)
    ordered = own_first(evaluations, version.metrics)
    return compose(Known(version, evidence or version.metrics, verdicts, ordered, facts, words, importance))


def own_first(evaluations: Mapping[str, Evaluation], metrics: Mapping[str, float]) -> dict[str, Evaluation]:
    """Return the evaluations, those that gave most of the run's named metrics first: a rival's is not the model's.

    Examples
    --------
    >>> list(own_first({}, {"auc": 0.9}))
    []
    """
    named = _named(metrics)

    def order(name: str) -> tuple[int, bool]:
        return -len(named & {one.value for one in evaluations[name].metrics}), not name.endswith(".evaluation")

    return {name: evaluations[name] for name in sorted(evaluations, key=order)}


def importance_of(version: Version, store: FileStore) -> Importance | None:
    """Return the importance of a version's columns; None where it was not measured.

    Raises
    ------
    CorruptError, NewerFormatError
        If it cannot be read.
    """
    from mlnb.model.importance import FILE, Importance

    digest = version.files.get(FILE)
    return Importance.from_json(json.loads(store.verify(digest).read_bytes())) if digest else None


def _sections(known: Known) -> Iterator[Section]:
    makers = {
        "model_details": sections.details,
        "factors": sections.factors,
        "metrics": sections.metrics,
        "evaluation_data": sections.evaluation_data,
        "training_data": sections.training_data,
        "quantitative_analyses": lambda one: analyses(one.evaluations),
        "fairness": sections.fairness,
        "explanations": lambda one: explained(one.importance),
        "fidelity": sections.fidelity,
        "monitoring": sections.monitoring,
        "caveats": sections.caveats,
        "lineage": sections.lineage,
    }
    opening = tuple(Written(one) for one in known.words if not one.key and not one.heading)
    if opening:
        yield Section("", "", opening)
    for key, title in _TITLES.items():
        if key == "lineage":
            yield from (Section("", one.heading, (Written(one),)) for one in known.words if not one.key and one.heading)
        blocks: list[Block] = [Written(one) for one in known.words if one.key == key]
        if not blocks and key in _ASKED:
            blocks.append(Sentence(_wanted(title, known.version.lineage.notebook), missing=True))
        blocks += makers[key](known) if key in makers else []
        if blocks:
            yield Section(key, title, tuple(blocks))


def _wanted(title: str, notebook: str) -> str:
    return (
        "Nobody has written this yet. Put a Markdown cell that begins with '# Model card' into "
        f"{notebook or 'the notebook'}, and your words below the heading '## {title}' in it."
    )


def _headline(known: Known) -> Iterator[tuple[str, str]]:
    first = next(iter(known.evaluations.values()), None)
    if first is not None:
        named = _named(known.version.metrics)
        for metric in sorted(first.metrics, key=lambda one: one.value not in named)[:2]:
            interval = "" if math.isnan(metric.low) else f" [{metric.low:.3g}, {metric.high:.3g}]"
            yield f"{metric.value:.4g}", f"{metric.name}{interval}"
    else:
        plain = {name: value for name, value in known.version.metrics.items() if "." not in name}
        yield from ((sections.number(value), name) for name, value in list(plain.items())[:2])
    if known.facts.rows:
        yield f"{known.facts.rows:,}", "evaluation rows"
    if known.verdicts:
        passed = sum(one.passed for one in known.verdicts)
        yield f"{passed} of {len(known.verdicts)}", "gates passed"
    if "latency_p99_ms" in known.evidence:
        yield f"{known.evidence['latency_p99_ms']:.3g} ms", "latency p99"


def _named(metrics: Mapping[str, float]) -> set[float]:
    """Return the numbers that the run itself calls its metrics."""
    return {value for name, value in metrics.items() if "." not in name and "[" not in name}


def _metadata(known: Known, task: str) -> dict[str, str | tuple[str, ...]]:
    library = {"onnx": "onnx", "skops": "sklearn", "native": "sklearn"}.get(known.version.exporter, "")
    found: dict[str, str | tuple[str, ...]] = {"license": known.licence.lower(), "library_name": library}
    found["pipeline_tag"] = _TAGS.get(task, "")
    found["tags"] = ("mlnb", task)
    found["metrics"] = tuple(name for name in known.version.metrics if "." not in name and "[" not in name)
    return {key: value for key, value in found.items() if value}


def _a(task: str) -> str:
    return f"{'An' if task[:1] in 'aeiou' else 'A'} {task}"
