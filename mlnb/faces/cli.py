"""The words on a command line become one verb, its answer, and an exit code.

0 done; 1 a stage or a test failed; 2 usage, a refused plan, an unknown parameter; 3 a gate failed or the policy
refuses.
Nothing of the project is imported before a verb asks for it.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence

import click

from mlnb import __version__
from mlnb.errors import MlnbError, StorageError, UsageError
from mlnb.faces.alarms import alarms
from mlnb.faces.annotate import annotate
from mlnb.faces.groups import audit, runs, services
from mlnb.faces.models import models
from mlnb.faces.plain import fault
from mlnb.faces.predict import predict
from mlnb.faces.retrain import retrain
from mlnb.faces.tune import tune
from mlnb.faces.upkeep import backup, gc, restore
from mlnb.faces.verb import stopped
from mlnb.faces.verbs import deploy, doctor, monitor, plan, promote, rollback, run, test
from mlnb.faces.verify import verify

_GRAMMAR = "rfc3987_syntax"
"""Half of papermill's import: nbformat loads it through jsonschema, for a check of formats that notebooks have not."""
_EPILOG = """\b
Complete with TAB:
  bash  eval "$(_MLNB_COMPLETE=bash_source mlnb)"
  zsh   eval "$(_MLNB_COMPLETE=zsh_source mlnb)"
  fish  _MLNB_COMPLETE=fish_source mlnb | source

\b
Exit codes: 0 done; 1 a stage or test failed; 2 usage or a refused plan; 3 a gate failed or the policy refuses."""


class Road(click.Group):
    """The verbs in the order in which a person meets them, not in the alphabet's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names as they were added."""
        return list(self.commands)


@click.group(
    "mlnb", cls=Road, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, message="mlnb %(version)s")
def root() -> None:
    """Turn an annotated Jupyter notebook into a tested, deployed, monitored pipeline."""


_VERBS = (plan, annotate, run, test, verify, tune, deploy, promote, rollback, predict, monitor, retrain, doctor)
for _verb in (*_VERBS, runs, models, services, alarms, audit, gc, backup, restore):
    root.add_command(_verb)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:  # this process is ours, to the end
        sys.modules.setdefault(_GRAMMAR, None)  # type: ignore[arg-type]  # Python's own way to forbid an import
    try:
        return call(words)
    except MlnbError as error:
        return report(error, words)
    except Exception:  # a face is the last to hear of it: whoever follows --events must not wait for ever
        traceback.print_exc()
        return report(MlnbError("mlnb met an error that it does not know.", "Report the traceback above."), words)


def call(words: Sequence[str], program: str = "mlnb") -> int:
    """Run one verb in this process and return its exit code.

    Raises
    ------
    MlnbError
        Whatever went wrong: the command line's own refusals and the system's come as errors of ours, too.
    """
    try:
        code = root.main(args=list(words), prog_name=program, standalone_mode=False)
    except click.Abort as error:
        raise stopped() from error
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else program
        raise UsageError(error.format_message(), f"Try '{path} --help'.") from error
    except click.ClickException as error:
        raise UsageError(error.format_message(), f"Try '{program} --help'.") from error
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        where = f" ({error.filename})" if error.filename else ""
        raise StorageError(
            f"The system refused: {error.strerror or error}{where}.",
            "Free some space or choose a folder that you may write, then repeat.",
            path=str(error.filename or ""),
        ) from error
    return code if isinstance(code, int) else 0


def report(error: MlnbError, words: Sequence[str]) -> int:
    """Print an error as it was asked for, and return its exit code."""
    if "--events" in words:
        click.echo(json.dumps({"event": "error", "code": error.exit_code} | fault(error)))
    elif "--json" in words:
        click.echo(json.dumps({"error": fault(error)}, indent=2, ensure_ascii=False))
    else:
        click.echo(f"{error.problem}\n{error.remedy}", err=True)
    return error.exit_code
