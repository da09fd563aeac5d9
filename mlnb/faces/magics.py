"""What is typed in a live kernel, marks and ``%mlnb VERB``, becomes plain cells and verbs.

``%load_ext mlnb`` puts `MarkLine` before IPython's own reading of a cell, so that a marked cell runs as plain code; the
cell magics of the same names are there for ``%%stage?``, for completion and for callers of `run_cell_magic`.
``%%deploy`` and the verbs that run a notebook do so in a process of their own, on the saved file.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from weakref import WeakKeyDictionary

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import no_var_expand

from mlnb.errors import MlnbError, RunError
from mlnb.faces.cells import ExecutedCells, MarkLine, refuse_unsaved, shown
from mlnb.faces.debug import Debugging
from mlnb.faces.saved import notebook_of
from mlnb.notebook.suffixes import NOTEBOOKS

ON_NOTEBOOK = ("plan", "annotate", "run", "test", "tune", "deploy")
FOLLOWED = ("run", "test", "tune", "deploy", "verify")
CELL_MAGICS = ("stage", "setup", "test", "deploy")
_WORKS = {"--once", "--daemon"}
_BARE = {"--json", "-q", "--quiet", "--svg", "--html", "--markdown", "--why", "--diff"}


def _without_traceback(magic: Callable[..., None]) -> Callable[..., None]:
    """Let a magic's own refusals show two sentences; they stay errors, so that Run All stops."""

    @wraps(magic)
    def called(*words: object) -> None:
        try:
            magic(*words)
        except MlnbError as error:
            raise shown(error) from None

    return called


class LiveMagics:
    """The marks and the verbs of one kernel.

    Attributes
    ----------
    cells : ExecutedCells
        What this kernel has executed since the extension was loaded.
    mark_line : MarkLine
        The input transformer.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.cells = ExecutedCells(shell, self._warns)
        self.debugging = Debugging(shell)
        self.mark_line = MarkLine()
        self._folder = Path.cwd()

    def stage(self, line: str, cell: str) -> None:
        """Make this cell a stage of the pipeline: ``%%stage NAME [--inputs a,b] [--outputs c] [--metrics m,n]``.

        In a live kernel the cell runs as plain code. ``mlnb run`` runs each stage in a kernel of its own; inputs and
        outputs are inferred from the code, the options override.
        """
        self.shell.run_cell(cell).raise_error()

    def setup(self, line: str, cell: str) -> None:
        """Make this cell belong to every stage: imports, functions, constants. A cell of only those needs no mark."""
        self.shell.run_cell(cell).raise_error()

    def test(self, line: str, cell: str) -> None:
        """Make this cell a test of a stage: ``%%test STAGE``. Its asserts and ``test_*`` functions are JUnit cases."""
        self.shell.run_cell(cell).raise_error()

    @_without_traceback
    def deploy(self, line: str, cell: str) -> None:
        """Ship a model: ``%%deploy NAME --model m --sample X [--gate "auc >= 0.8"] [--to staging]``.

        It runs the saved notebook's pipeline (from the cache where nothing changed), registers the model, tries it,
        judges the gates, promotes and serves it. The body holds the service's own hooks, such as ``preprocess``.
        Under papermill, nbclient and nbconvert it does nothing.
        """
        from mlnb.notebook.marks import parse_mark

        if self.headless:
            print("%%deploy does nothing here: a notebook that runs without a person never deploys itself.")
            return
        mark = parse_mark(f"%%deploy {line}\n{cell}")
        self._follow(["deploy", str(self._notebook()), mark.name if mark else ""])

    @_without_traceback
    def mlnb(self, line: str) -> None:
        """Run a verb: ``%mlnb plan``, ``%mlnb run -p x=1``, ``%mlnb promote delays``; ``%mlnb --help`` lists them."""
        from mlnb.faces import cli

        words = shlex.split(line) or ["--help"]
        verb, wants_help = words[0], bool({"--help", "-h"} & set(words))
        if verb in ON_NOTEBOOK and not wants_help and not any(Path(word).suffix in NOTEBOOKS for word in words):
            words.insert(1, str(self._notebook()))
        if not wants_help and self._in_kernel(words):
            return
        if not wants_help and (verb in FOLLOWED or (verb == "retrain" and _WORKS & set(words))):
            self._follow(words)
        elif wants_help or not self._pictured(words):
            cli.call(words, "%mlnb")

    @property
    def headless(self) -> bool:
        """Whether no person is here: nbclient, and papermill with it, keeps the history in memory only."""
        return str(self.shell.history_manager.hist_file) == ":memory:"

    def _notebook(self) -> Path:
        """Return this kernel's notebook, saved.

        Raises
        ------
        UsageError
            If nobody knows it, or something was executed that the file does not hold.
        """
        path = notebook_of(self.shell.user_ns, os.environ, self._folder)
        refuse_unsaved(self.cells, path)
        return path

    def _follow(self, words: Sequence[str]) -> None:
        from mlnb.faces.follow import Outcome, follow
        from mlnb.faces.html import LiveBoard
        from mlnb.faces.reused import reused
        from mlnb.faces.tune import live_tuning

        board = live_tuning(words) if words[0] == "tune" else LiveBoard()
        text = ""
        try:
            known = reused(words, board.take) if words[0] == "run" else None
            outcome = Outcome(0, known, None) if known is not None else follow(words, board.take, Path.cwd())
            text = outcome.text
        finally:
            board.draw(text)
        if outcome.code:
            raise RunError(
                f"{words[0]} failed: see above.", "Repair what it names and repeat: what had finished is kept."
            )

    def _in_kernel(self, words: Sequence[str]) -> bool:
        """Do what is about this kernel itself, and say whether that was asked for."""
        from mlnb.faces import hidden

        if words[:2] == ["runs", "debug"] and not _BARE & set(words):
            hidden.stand(self.debugging, words[2:])
        elif words[0] == "verify" and not any(Path(word).suffix in NOTEBOOKS for word in words):
            if words[1:2] == ["--warn"]:
                self.cells.warns = hidden.warning(words[2:])
            else:
                path = notebook_of(self.shell.user_ns, os.environ, self._folder)
                hidden.verify_kernel(self.cells.trail, self.shell.user_ns, path, words[1:])
        else:
            return False
        return True

    def _warns(self) -> bool:
        """Say what the project's settings say of warnings."""
        from mlnb.project import Project

        try:
            return Project.find(self._folder).settings.stale_warnings != "off"
        except MlnbError:
            return True

    def _pictured(self, words: Sequence[str]) -> bool:
        """Show a verb that has a picture, and say whether it has one."""
        from mlnb.faces import pictures

        if _BARE & set(words):
            return False
        if words[0] == "plan":
            pictures.show_plan(words[1:], self.cells.states())
        elif words[0] == "promote" and len(words) == 2:
            pictures.show_promote(words[1])
        elif words[0] == "monitor":
            pictures.show_monitor(words[1:])
        elif words[:1] == ["models"] and words[1:2] and words[1] in pictures.OF_MODELS:
            pictures.show_model(words[1:])
        else:
            return False
        return True


_LOADED: WeakKeyDictionary[InteractiveShell, LiveMagics] = WeakKeyDictionary()


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Bring the marks and ``%mlnb`` into a live kernel; a second time changes nothing but drops what was noted."""
    from mlnb.faces.completers import completers

    unload_ipython_extension(shell)
    _LOADED[shell] = magics = LiveMagics(shell)
    for name in CELL_MAGICS:
        no_var_expand(getattr(LiveMagics, name))
        shell.register_magic_function(getattr(magics, name), "cell", name)
    no_var_expand(LiveMagics.mlnb)
    shell.register_magic_function(magics.mlnb, "line", "mlnb")
    shell.input_transformers_cleanup.append(magics.mark_line)
    shell.events.register("pre_run_cell", magics.cells.began)
    shell.events.register("post_run_cell", magics.cells.ended)
    for word, completer in completers().items():
        shell.set_hook("complete_command", completer, str_key=word)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take them out again; a kernel without them is left as it is."""
    magics = _LOADED.pop(shell, None)
    if magics is None:
        return
    shell.input_transformers_cleanup.remove(magics.mark_line)
    shell.events.unregister("pre_run_cell", magics.cells.began)
    shell.events.unregister("post_run_cell", magics.cells.ended)
    for name in CELL_MAGICS:
        shell.magics_manager.magics["cell"].pop(name, None)
    shell.magics_manager.magics["line"].pop("mlnb", None)
