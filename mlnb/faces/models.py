"""The verbs about what was registered: ``mlnb models list``, ``show``, ``lineage``, ``at``, ``compare`` and others."""

from __future__ import annotations

from pathlib import Path

import click

from mlnb.faces.approvals import approve, judge
from mlnb.faces.auditing import vouch
from mlnb.faces.complete import refs
from mlnb.faces.lineage import lineage
from mlnb.faces.mlflow import from_mlflow, mirror
from mlnb.faces.shelf import list_versions, search, tag, untag
from mlnb.faces.timeline import at
from mlnb.faces.verb import Asked, Things
from mlnb.faces.versus import compare

_FILE = click.Path(path_type=Path)


@click.group(cls=Things)
def models() -> None:
    """See what was registered: list, show, lineage, at, compare, search, tag, judge, approve, card, sbom."""


models.add_command(list_versions)


@models.command("show")
@click.argument("ref", shell_complete=refs)
@click.pass_obj
def models_show(asked: Asked, ref: str) -> int:
    """Show one version: metrics, gates, parity, signature, lineage."""
    from mlnb.faces import view
    from mlnb.faces.measured import evaluation_lines
    from mlnb.judging.judgement import judged
    from mlnb.model.evaluation_codec import to_json

    project = asked.project()
    version = project.models.get(ref)
    evidence, verdicts = judged(version, project.audit)
    measured = project.models.evaluations(version)
    told = {name: to_json(one) for name, one in measured.items()}
    facts: dict[str, object] = {
        **version.to_json(),
        "evidence": evidence,
        "verdicts": verdicts,
        "evaluations": told,
    }
    return asked.answer(facts, lambda _: [*view.version_lines(version, verdicts), *evaluation_lines(measured)])


for _command in (lineage, at, compare, search, tag, untag, judge, approve, vouch):
    models.add_command(_command)


@models.command("card")
@click.argument("ref", shell_complete=refs)
@click.option("--html", type=_FILE, metavar="FILE", help="Write a page that opens without a network.")
@click.option("--markdown", "head", is_flag=True, help="Markdown with the head that the Hugging Face Hub reads.")
@click.option("--shap", is_flag=True, help="With SHAP values, for which the package is asked about its sample now.")
@click.pass_obj
def models_card(asked: Asked, ref: str, html: Path | None, head: bool, shap: bool) -> int:
    """Show a version's model card: what it is for, how good it is and for whom, what it was made of."""
    from mlnb.faces.card import answer_card
    from mlnb.faces.card_shares import card_for

    return answer_card(asked, card_for(asked.project(), ref, shap=shap), html, head)


@models.command("smaller")
@click.argument("ref", shell_complete=refs)
@click.option("--take", default="", metavar="NAME", help="Write the model float32, float16 or int8.")
@click.option("--out", type=click.Path(path_type=Path), default=None, metavar="FILE", help="Where to write it.")
@click.pass_obj
def models_smaller(asked: Asked, ref: str, take: str, out: Path | None) -> int:
    """Measure smaller models of a version beside it: size, latency, what they answer otherwise."""
    from mlnb.faces.smaller import smaller

    return smaller(asked, ref, take, out)


@models.command("pmml")
@click.argument("ref", shell_complete=refs)
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def models_pmml(asked: Asked, ref: str, file: Path) -> int:
    """Write a version as PMML, checked by a Java engine. Needs the extra pmml (AGPL), Java, scikit-learn <= 1.9.0."""
    from mlnb.faces.pmml import pmml

    return pmml(asked, ref, file)


@models.command("explain")
@click.argument("ref", shell_complete=refs)
@click.option(
    "--row", default="", metavar="N|FILE", help="One row of the sample by its number, or a JSON file of rows."
)
@click.option("--output", default="", metavar="NAME", help="Which class or output, where there are several.")
@click.option("--budget", type=click.IntRange(0), default=0, metavar="N", help="Rows the model may be asked about.")
@click.pass_obj
def models_explain(asked: Asked, ref: str, row: str, output: str, budget: int) -> int:
    """Show which columns move a version's answers: over its sample, or in one row."""
    from mlnb.faces.explain import Wanted, answer_explain

    return answer_explain(asked, ref, Wanted(row, output, budget))


models.add_command(compare)
models.add_command(mirror)
models.add_command(from_mlflow)


@models.command("sbom")
@click.argument("ref", shell_complete=refs)
@click.pass_obj
def models_sbom(asked: Asked, ref: str) -> int:
    """Show what a version's service consists of, with licences; --json is the CycloneDX document."""
    from mlnb.faces.contents import answer_sbom

    return answer_sbom(asked, ref)


@models.command("sign")
@click.argument("ref", shell_complete=refs)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="An elliptic-curve private key in PEM.")
@click.pass_obj
def models_sign(asked: Asked, ref: str, folder: Path, key: Path) -> int:
    """Write a version's package to a folder, signed for others' tools (OpenSSF Model Signing)."""
    from mlnb.faces.contents import answer_signed

    return answer_signed(asked, ref, folder, key)
