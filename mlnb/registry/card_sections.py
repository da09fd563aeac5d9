"""What is known of a version becomes the sections of its card that state facts.

A function for each section, in the order of the card; what was measured is drawn by `mlnb.registry.card_measured`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlnb.model.card import Block, Bullets, Code, Sentence, Table
from mlnb.model.card_facts import CardFacts
from mlnb.model.card_words import Words, licence_of, sensitive_columns
from mlnb.registry.card_measured import compared

if TYPE_CHECKING:
    from mlnb.model.column_summary import ColumnSummary
    from mlnb.model.evaluation import Evaluation
    from mlnb.model.importance import Importance
    from mlnb.registry.gates import Verdict
    from mlnb.registry.version import Version

_NUMBERS = 24
_CATEGORIES = 12


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that is known of a version.

    Attributes
    ----------
    version : Version
    evidence : mapping of str to float
        What was measured when it was last judged, else its metrics.
    verdicts : sequence of Verdict
        What its gates found.
    evaluations : mapping of str to Evaluation
        By ``stage.variable``.
    facts : CardFacts
        Of the time of its registration.
    words : tuple of Words
        A person's newest.
    importance : Importance or None
    """

    version: Version
    evidence: Mapping[str, float]
    verdicts: Sequence[Verdict] = ()
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    facts: CardFacts = field(default_factory=CardFacts)
    words: tuple[Words, ...] = ()
    importance: Importance | None = None

    @property
    def licence(self) -> str:
        """The licence: a person's first line under that heading, else the project's."""
        return licence_of(self.words) or self.facts.licence


def details(known: Known) -> Iterator[Block]:
    """Yield what the model is."""
    version, facts = known.version, known.facts
    rows = [
        ("Version", version.ref),
        ("Task", str(version.signature.get("task", "model"))),
        ("Answers", answers(version.signature)),
        ("Packaged as", version.exporter),
        ("Registered", f"{version.created_at:%Y-%m-%d %H:%M} UTC by {version.created_by}"),
        ("Licence", known.licence or "none stated: write it under '## Licence' or in pyproject.toml"),
    ]
    yield Table(("what", "value"), tuple(rows))
    if facts.estimator:
        yield Code(facts.estimator)


def factors(known: Known) -> Iterator[Block]:
    """Yield what the quality was measured apart by."""
    sliced = dict.fromkeys(
        part.column for one in known.evaluations.values() for part in one.slices if part.column != "class"
    )
    if sliced:
        yield Sentence(f"The quality was measured apart by: {', '.join(sliced)}.")
    named = sensitive_columns(known.words)
    if named:
        yield Sentence(f"Sensitive columns: {', '.join(named)}.")


def metrics(known: Known) -> Iterator[Block]:
    """Yield gates and numbers."""
    told = {pair for one in known.evaluations.values() for pair in one.named().items()}
    shown = {name: value for name, value in known.evidence.items() if "." not in name and (name, value) not in told}
    if known.verdicts:
        judged = tuple(("passed" if one.passed else "FAILED", one.sentence) for one in known.verdicts)
        yield Table(("gate", "what was found"), judged, "Gates")
    if shown:
        for caption, names in (
            ("Metrics of the run", [name for name in shown if name in known.version.metrics]),
            ("Measured of the package and its service", [name for name in shown if name not in known.version.metrics]),
        ):
            rows = tuple((name, number(shown[name])) for name in names[:_NUMBERS])
            if rows:
                yield Table(("number", "value"), rows, caption, (1,))
            if len(names) > _NUMBERS:
                yield Sentence(f"{len(names) - _NUMBERS} more are in mlnb models show {known.version.ref}.")
    if not shown:
        yield Sentence(
            "No metric was recorded: name one with --metrics on a stage, or bind what mlnb.evaluate returns."
        )


def evaluation_data(known: Known) -> Iterator[Block]:
    """Yield the sample, by column."""
    facts = known.facts
    if facts.columns:
        columns = "1 column" if len(facts.columns) == 1 else f"{len(facts.columns)} columns"
        yield Sentence(f"The sample {facts.sample} holds {facts.rows:,} rows of {columns}.")
        yield Table(
            ("column", "type", "missing", "range or commonest values", "mean", "deviation"),
            tuple(_column_row(one) for one in facts.columns),
            numbers=(2, 4, 5),
        )
        return
    yield Table(("column", "type", "may be missing", "values"), tuple(_signature_rows(known.version.signature)))


def training_data(known: Known) -> Iterator[Block]:
    """Yield the data that the stages read."""
    lineage = known.version.lineage
    if lineage.data:
        yield Table(("data that the stages read", "digest"), lineage.data)
    else:
        yield Sentence("No data was declared: name files with --reads on the stage that reads them.")


def fairness(known: Known) -> Iterator[Block]:
    """Yield the comparison of groups."""
    compared_columns = {one.column for one in known.facts.fairness}
    yield from compared(known.facts.fairness)
    named = sensitive_columns(known.words)
    told = " ".join(known.facts.notes)
    later = [
        name for name in named if name not in compared_columns and repr(name) not in told and "fairlearn" not in told
    ]
    if later:
        yield Sentence(
            f"{', '.join(later)}: named after this version was registered; the next version will compare their groups."
        )
    if not named:
        yield Sentence(
            "No groups were compared: write a line 'Sensitive columns: a, b' into the notebook's model card cell."
        )
    yield from (
        Sentence(note) for note in known.facts.notes if "airness" in note or "ensitive" in note or "roups" in note
    )


def fidelity(known: Known) -> Iterator[Block]:
    """Yield how the package compares with the estimator."""
    parity = known.version.parity
    if "rows" in parity:
        yield Sentence(
            f"The packaged model was compared with the estimator on {_int(parity['rows'])} rows: the largest "
            f"difference is {_maybe(parity.get('max_abs'))} (limit {_maybe(parity.get('limit'))}), "
            f"{_int(parity.get('flips'))} labels differ, {_int(parity.get('ties'))} exact ties are broken otherwise."
        )
    if parity.get("reason"):
        yield Sentence(str(parity["reason"]))
    skew = known.evidence.get("skew_max_abs")
    if skew is not None:
        yield Sentence(f"The same rows through the running service: largest difference {number(skew)}.")


def monitoring(known: Known) -> Iterator[Block]:
    """Yield the drift baseline."""
    digest = known.version.files.get("reference.json")
    if digest:
        model = known.version.model
        yield Sentence(
            f"The sample is the drift baseline: reference.json ({digest[:19]}...) holds its counts by column and those "
            f"of the answers, and mlnb monitor {model} compares with it what the service is asked."
        )
    else:
        yield Sentence("There is no drift baseline.")


def caveats(known: Known) -> Iterator[Block]:
    """Yield what the facts themselves give to think about."""
    said = []
    if not known.evaluations:
        said.append("The metrics have no intervals: bind what mlnb.evaluate(y, p) returns to know how sure they are.")
    small = [
        f"{part.column}={part.value} ({part.rows:,} rows)"
        for one in known.evaluations.values()
        for part in one.slices
        if part.small
    ]
    if small:
        more = f" and {len(small) - 5} more" if len(small) > 5 else ""
        said.append(f"Too few rows to lean on: {', '.join(small[:5])}{more}.")
    failed = [one.sentence for one in known.verdicts if not one.passed]
    if failed:
        said.append(f"Gates that failed: {' '.join(failed)}")
    if known.facts.columns:
        said.append("Beyond the ranges and categories of the evaluation data nothing was measured.")
    if known.importance is not None and known.importance.columns:
        said.append("Of columns that say the same, each looks less important than all of them are together.")
    if known.version.lineage.git_dirty:
        said.append("The notebook or its modules held changes that are in no commit.")
    said += [note for note in known.facts.notes if "importance" in note]
    if said:
        yield Bullets(tuple(said))


def lineage(known: Known) -> Iterator[Block]:
    """Yield where it comes from."""
    lineage = known.version.lineage
    dirty = " with local changes" if lineage.git_dirty else ""
    rows = [
        ("Notebook", f"{lineage.notebook} ({lineage.notebook_digest[:19]}...)"),
        ("Run", lineage.run),
        ("Commit", f"{lineage.git_commit or 'none: not under git'}{dirty}"),
        ("Environment", lineage.environment),
        *((f"Parameter {name}", repr(value)) for name, value in lineage.parameters.items()),
        *((f"Stage {name}", key) for name, key in lineage.stages.items()),
    ]
    if known.facts.model:
        rows.insert(1, ("Estimator", known.facts.model))
    yield Table(("what", "value"), tuple(rows))


def _column_row(one: ColumnSummary) -> tuple[str, ...]:
    if math.isnan(one.mean):
        shown = ", ".join(f"{value} ({count:,})" for value, count in one.top)
        values = f"{shown}, ... {one.distinct:,} in all" if one.distinct > len(one.top) else shown
    else:
        values = f"{one.minimum:.6g} to {one.maximum:.6g}"
    share = f"{one.missing / one.rows:.1%}" if one.missing else "0"
    return one.name, one.dtype, share, values, _moment(one.mean), _moment(one.deviation)


def _signature_rows(signature: Mapping[str, object]) -> Iterator[tuple[str, str, str, str]]:
    inputs = signature.get("inputs")
    for column in inputs if isinstance(inputs, list) else ():
        categories, low, high = column.get("categories") or (), column.get("minimum"), column.get("maximum")
        values = ", ".join(map(str, categories[:_CATEGORIES])) + (", ..." if len(categories) > _CATEGORIES else "")
        if not categories and low is not None:
            values = f"{low:.6g} to {high:.6g}"
        yield str(column["name"]), str(column["dtype"]), "yes" if column.get("nullable") else "no", values


def answers(signature: Mapping[str, object]) -> str:
    """Say what the model answers."""
    classes, outputs = signature.get("classes"), signature.get("outputs")
    if isinstance(classes, list | tuple) and classes:
        shown = ", ".join(map(str, classes[:_CATEGORIES])) + (", ..." if len(classes) > _CATEGORIES else "")
        return f"one of {shown}{', with probabilities' if signature.get('probabilities') else ''}"
    if isinstance(outputs, list | tuple) and outputs:
        return f"{len(outputs)} values for each row"
    return "a ranking of each row's items" if signature.get("task") == "ranker" else "a number"


def _moment(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"


def number(value: float) -> str:
    """Return a number in six digits."""
    return f"{value:.6g}"


def _maybe(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else "not finite" if value is None else str(value)


def _int(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "0"
