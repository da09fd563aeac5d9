"""Inside an observed stage's kernel: every call of an estimator's methods becomes a `Note`.

An estimator is whatever has ``fit`` and one of ``predict``, ``transform`` or ``score``: scikit-learn's, those of
xgboost, lightgbm and catboost, and classes of the notebook. Their methods are wrapped in this kernel only, those of
classes that come later as soon as they are made. Only calls from outside count: what a pipeline or a search does inside
its own ``fit`` is its own affair. What other processes do (``n_jobs``) is not seen.
"""

from __future__ import annotations

import builtins
import functools
import hashlib
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import numpy as np

from mlnb.run.honesty_notes import TOKEN, Note, write_notes
from mlnb.run.honesty_rows import Digests, cell_digests, row_digests
from mlnb.run.honesty_targets import suspects

_FITS = frozenset({"fit", "partial_fit", "fit_transform", "fit_predict"})
_SCORES = frozenset({"predict", "predict_proba", "predict_log_proba", "decision_function", "score"})
_METHODS = (*sorted(_FITS), *sorted(_SCORES), "transform")
_FEATURES = ("X", "raw_documents", "data")
_TARGETS = ("y", "target", "label")
_ALWAYS_LEFT = frozenset({TOKEN, "n_features_in_", "feature_names_in_"})
_UNREADABLE = (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError)


def begin(folder: Path) -> None:
    """Observe estimators from now on; what was noted is in `folder` after each cell."""
    observer = Observer(folder)
    observer.wrap_known_classes()
    build = builtins.__build_class__

    def build_and_wrap(*args: Any, **kwargs: Any) -> Any:
        made = build(*args, **kwargs)
        if isinstance(made, type):
            observer.wrap(made)
        return made

    builtins.__build_class__ = build_and_wrap
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()) is not None:
        shell.events.register("post_run_cell", lambda result: observer.save())


class Observer:
    """Notes what estimators do.

    Parameters
    ----------
    folder : Path
        The stage's handoff folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._notes: list[Note] = []
        self._arrays: dict[str, Digests] = {}
        self._saved = 0
        self._inside = False
        _observing.append(self)

    def save(self) -> None:
        """Write what was noted, if that is more than was written before."""
        if len(self._notes) > self._saved:
            write_notes(self._folder, self._notes, self._arrays)
            self._saved = len(self._notes)

    def wrap_known_classes(self) -> None:
        """Wrap the estimators among all classes that exist."""
        left: list[type] = [object]
        seen: set[type] = set()
        while left:
            kinds: list[type] = type.__subclasses__(left.pop())
            for kind in kinds:
                if kind not in seen:
                    seen.add(kind)
                    left.append(kind)
                    self.wrap(kind)

    def wrap(self, kind: type) -> None:
        """Wrap the methods of a class, and those that it inherits, if it is an estimator."""
        line = kind.__mro__[:-1]
        has = {name for each in line for name in _METHODS if name in vars(each)}
        if not has & {"fit", "partial_fit"} or not has & (_SCORES | {"transform"}):
            return
        for each in line:
            for name in _METHODS:
                method = vars(each).get(name)
                if isinstance(method, FunctionType) and not hasattr(method, "_mlnb_wrapped"):
                    setattr(each, name, _wrapped(method, name))
                inner = getattr(method, "fn", None)  # of scikit-learn's available_if
                if isinstance(inner, FunctionType) and not hasattr(inner, "_mlnb_wrapped"):
                    method.fn = _wrapped(inner, name)  # type: ignore[union-attr]

    def call(
        self, method: Callable[..., Any], name: str, one: Any, args: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        """Call an estimator's method and note it, unless another one's method calls it."""
        if self._inside or threading.current_thread() is not threading.main_thread():
            return method(one, *args, **named)
        features, target = _argument(args, named, 0, _FEATURES), _argument(args, named, 1, _TARGETS)
        given = self._kept(features)
        before = {key: id(value) for key, value in getattr(one, "__dict__", {}).items()}
        self._inside = True
        try:
            result = method(one, *args, **named)
        finally:
            self._inside = False
        if given:
            self._note(one, name, given, features, target, result, before)
        return result

    def _note(
        self, one: Any, method: str, given: str, features: Any, target: Any, result: Any, before: dict[str, int]
    ) -> None:
        code, line = _place()
        kind, predicts = type(one).__name__, hasattr(one, "predict")
        if method in _FITS:
            left = {key for key, value in getattr(one, "__dict__", {}).items() if before.get(key) != id(value)}
            _mark(one, method)
            looked_at = _looked_at(features, target) if predicts else ()
            self._notes.append(
                Note("fit", kind, _token(one), method, code, line, rows=given, supervised=target is not None,
                     predicts=predicts, learned=bool(left - _ALWAYS_LEFT), suspects=looked_at)
            )  # fmt: skip
        if method in {"transform", "fit_transform"}:
            out = self._kept(result)
            names = tuple(map(str, getattr(features, "columns", ())))
            self._notes.append(
                Note("transform", kind, _token(one), method, code, line, rows=given, out=out, names=names)
            )
        elif method in _SCORES:
            names, columns = self._columns(features)
            self._notes.append(
                Note("score", kind, _token(one), method, code, line, rows=given, columns=columns, names=names,
                     predicts=predicts)
            )  # fmt: skip

    def _kept(self, table: Any) -> str:
        try:
            return self._keep(row_digests(table)) if table is not None else ""
        except _UNREADABLE:
            return ""

    def _columns(self, table: Any) -> tuple[tuple[str, ...], str]:
        try:
            digests = cell_digests(table)
        except _UNREADABLE:
            digests = None
        return (tuple(map(str, table.columns)), self._keep(digests)) if digests is not None else ((), "")

    def _keep(self, digests: Digests | None) -> str:
        if digests is None:
            return ""
        name = "a" + hashlib.blake2b(digests.tobytes() + str(digests.shape).encode(), digest_size=12).hexdigest()
        self._arrays.setdefault(name, digests)
        return name


_observing: list[Observer] = []


def observing() -> Observer | None:
    """Return this process's observer; cloudpickle takes a function of a module by its name, a list by its value."""
    return _observing[-1] if _observing else None


def _wrapped(method: FunctionType, name: str) -> Callable[..., Any]:
    """Return a method that tells the observer of whatever kernel it is called in: classes are handed over as well."""

    @functools.wraps(method)
    def observed(self_: Any, *args: Any, **named: Any) -> Any:
        observer = observing()
        return observer.call(method, name, self_, args, named) if observer else method(self_, *args, **named)

    observed._mlnb_wrapped = True  # type: ignore[attr-defined]
    return observed


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], place: int, names: tuple[str, ...]) -> Any:
    if len(args) > place:
        return args[place]
    return next((kwargs[name] for name in names if name in kwargs), None)


def _looked_at(features: Any, target: Any) -> tuple[Any, ...]:
    try:
        return suspects(features, target) if target is not None and np.ndim(target) else ()
    except _UNREADABLE:
        return ()


def _mark(one: Any, method: str) -> None:
    """Give a freshly fitted estimator, and the best one of a search, a token that goes with them."""
    if method == "partial_fit" and _token(one):
        return
    token = uuid.uuid4().hex
    for each in (one, getattr(one, "best_estimator_", None)):
        if hasattr(each, "__dict__"):
            each.__dict__[TOKEN] = token


def _token(one: Any) -> str:
    return str(getattr(one, "__dict__", {}).get(TOKEN, ""))


def _place() -> tuple[str, int]:
    """Return the innermost place in a cell that the call came from."""
    frame: FrameType | None = sys._getframe(1)
    inner = 0
    while frame is not None:
        name = frame.f_code.co_filename
        if name in {"<timed exec>", "<timed eval>"}:  # the body of %%time begins one line further down
            inner = inner or frame.f_lineno + 1
        elif name.startswith("<mlnb-cell-"):
            return name, inner or frame.f_lineno
        frame = frame.f_back
    return "", 0
