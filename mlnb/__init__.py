"""A notebook becomes a pipeline, results, versions, answers, and a judgement of those answers.

The tree is that road; a package is a place where the data stops::

    notebook/   the annotated document: cells, marks, names
    pipeline/   cells become stages: graph, notebooks to run, cache keys
    run/        stages become results, each in a fresh kernel, through papermill
    model/      an estimator becomes portable bytes: signature, export, parity, scorer, card, explanation
    store/      bytes and facts that last: artifacts, codecs, manifests, signatures, the ledger
    registry/   results become versions: numbers, aliases, gates, policy, lineage, audit
    batch/      tables become tables of answers, of any size, here or on a cluster
    service/    versions become answers: the Bento, the ASGI application, the prediction log; a supervisor and workers
    monitor/    answers meet what was learned: windows, distances, alarms, estimates, reports, figures
    notify/     what happened becomes messages: web hooks, chat, mail, commands
    judging/    a version and the one that holds its alias become verdicts
    effects.py  what a move of an alias has left to be done is done: services follow, others are told
    ship.py     run, register, package, try, gate, promote, serve: one act that can be repeated
    traffic.py  versions share the requests of a service: splits, canaries, shadows, and the audit of them
    platforms/  versions meet the registries of others
    lookout.py  windows become alarms that stand until somebody acknowledges them
    retrain/    what has happened becomes triggers, and triggers a challenger that faces the champion
    backup.py   a project's state becomes one file; restore.py makes it a project again; garbage.py removes what is over
    parts.py    the parts of a project; project.py puts them together: every face uses only `Project`
    faces/      where a person stands: the command line, the magics, the widgets, the server

Importing mlnb loads none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlnb.model.evaluate import evaluate
    from mlnb.model.proposal import propose_schema
    from mlnb.project import Project
    from mlnb.run.intermediate import report
    from mlnb.run.secret import secret

__version__ = "0.1.0"
__all__ = ["Project", "__version__", "evaluate", "propose_schema", "report", "secret"]


def __getattr__(name: str) -> object:
    if name == "Project":
        from mlnb.project import Project

        return Project
    if name == "evaluate":
        from mlnb.model.evaluate import evaluate

        return evaluate
    if name == "propose_schema":
        from mlnb.model.proposal import propose_schema

        return propose_schema
    if name == "report":
        from mlnb.run.intermediate import report

        return report
    if name == "secret":
        from mlnb.run.secret import secret

        return secret
    raise AttributeError(f"module 'mlnb' has no attribute {name!r}")


def load_ipython_extension(shell: object) -> None:
    """Bring the marks and ``%mlnb`` into a live kernel: ``%load_ext mlnb``."""
    from mlnb.faces.magics import load_ipython_extension as load

    load(shell)


def unload_ipython_extension(shell: object) -> None:
    """Take them out again: ``%unload_ext mlnb``."""
    from mlnb.faces.magics import unload_ipython_extension as unload

    unload(shell)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "mlnb"}]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "mlnb.faces.server"}]
