"""An expression becomes the names whose values it changes in place: ``df["c"] = 1``, ``cfg.lr = 2``, ``xs.append(3)``.

A judgement by spelling, since nothing is executed: methods known to change their object, ``inplace=True``, ``out=``,
and functions known to change their first argument. What it misses (a method that only its class knows; ``row += 1``
where ``row = array[0]`` is a view, which is a new number everywhere else; an iterator that a loop uses up) is found
after a run, by the digests of what was taken.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

from mlnb.notebook.aliasing import closed, discarded, roots

_OF_COLLECTIONS = ("append", "extend", "insert", "add", "update", "remove", "discard", "clear", "sort", "reverse")
_OF_DEQUES = ("appendleft", "extendleft", "rotate")
_OF_SETS = ("intersection_update", "difference_update", "symmetric_difference_update")
_OF_ARRAYS = ("fill", "put", "itemset", "resize", "setflags")
_OF_NETS = ("step", "backward", "zero_grad", "load_state_dict", "compile")
_CHANGE_AND_RETURN_NOTHING = frozenset({*_OF_COLLECTIONS, *_OF_DEQUES, *_OF_SETS, *_OF_ARRAYS, *_OF_NETS})
"""Methods that count only as a statement: ``seen.add(x)`` changes, ``y = df.add(x)`` does not."""

_MODES = frozenset({"train", "eval"})
"""Methods that count only as a statement without arguments: ``net.train()``, but not ``df.eval("a + b")``."""

_PREFIXES = ("set_", "add_", "update_", "remove_", "insert_", "register_")
_OF_FRAMES = frozenset({"set_index", "set_axis", "set_flags", "set_crs", "set_geometry", "add_prefix", "add_suffix"})
"""Methods with such a prefix that give a new object."""

_OF_ESTIMATORS = ("fit", "partial_fit", "fit_transform", "fit_predict", "fit_resample", "set_params", "set_output")
_DUNDERS = ("__setitem__", "__delitem__", "__setattr__", "__delattr__", "__iadd__", "__setstate__", "__next__")
_CHANGE_AND_RETURN = frozenset({"pop", "popitem", "popleft", "setdefault", *_OF_ESTIMATORS, *_DUNDERS})

_GENERATORS = re.compile(r"(.*_)?(rng|random_state|prng|rnd)\d*", re.IGNORECASE)
_SHAPES = ("normal", "standard_normal", "uniform", "exponential", "poisson", "binomial", "beta", "gamma", "dirichlet")
_CHOICES = ("choice", "choices", "sample", "permutation", "permuted", "shuffle", "integers", "randint", "bytes")
_DRAW = frozenset({*_SHAPES, *_CHOICES, "random", "random_sample", "rand", "randn", "randrange", "gauss", "spawn"})
"""Methods of random generators, which advance; counted where the name says that it is one."""

_BY_ONE = ("shuffle", "heappop", "heapify", "next")
_HEAPS = ("heappush", "heapreplace", "heappushpop", "insort", "insort_left", "insort_right")
_ARRAYS = ("copyto", "fill_diagonal", "put", "place", "putmask", "put_along_axis")
_OPERATORS = ("setattr", "delattr", "setitem", "delitem", "iadd", "ior", "iconcat")
_CHANGE_THEIR_ARGUMENT = frozenset({*_BY_ONE, *_HEAPS, *_ARRAYS, *_OPERATORS})


def changed_by_call(call: ast.Call, *, statement: bool) -> tuple[str, ...]:
    """Return the names that a call changes in place.

    Parameters
    ----------
    call : ast.Call
        The call.
    statement : bool
        Whether its result is unused.
    """
    changed: list[str] = [name for keyword in call.keywords if keyword.arg == "out" for name in roots(keyword.value)]
    name = ""
    if isinstance(call.func, ast.Attribute):
        name = call.func.attr
        of = call.func.value
        if name in _DUNDERS and isinstance(of, ast.Name) and of.id in {"object", "dict", "list", "set", "type"}:
            changed.extend(roots(call.args[0]) if call.args else ())
        elif _changes_its_object(call, name, statement=statement and not changed):
            changed.extend(roots(of))
    elif isinstance(call.func, ast.Name):
        name = call.func.id
    if name in _CHANGE_THEIR_ARGUMENT and call.args and (len(call.args) > 1 or name in _BY_ONE):
        changed.extend(roots(call.args[0]))
    return tuple(dict.fromkeys(changed))


def _changes_its_object(call: ast.Call, name: str, *, statement: bool) -> bool:
    if name in _CHANGE_AND_RETURN or (name.endswith("_") and not name.startswith("_") and not name.endswith("__")):
        return True
    if any(k.arg == "inplace" and isinstance(k.value, ast.Constant) and k.value.value for k in call.keywords):
        return True
    of = call.func.value if isinstance(call.func, ast.Attribute) else None
    if name in _DRAW and isinstance(of, ast.Name) and _GENERATORS.fullmatch(of.id):
        return True
    if not statement:
        return False
    plain = all(isinstance(argument, ast.Constant) and not isinstance(argument.value, str) for argument in call.args)
    by_prefix = name.startswith(_PREFIXES) and name not in _OF_FRAMES
    return name in _CHANGE_AND_RETURN_NOTHING or by_prefix or (name in _MODES and plain)


def changed_in(nodes: Sequence[ast.AST], linked: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the names of everything that one of `nodes` changes in place.

    Parameters
    ----------
    nodes : sequence of ast node
        Nodes in the order of `ast.walk`: parents before children.
    linked : mapping of str to frozenset of str
        What each name may stand for, from `links`.
    """
    changed: set[str] = set()
    statements: set[int] = set()
    for node in nodes:
        match node:
            case ast.Expr(value=value) | ast.Lambda(body=value):
                statements.update(map(id, discarded(value)))
            case ast.Call():
                changed.update(changed_by_call(node, statement=id(node) in statements))
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                changed.update(roots(node))
    return closed(changed, linked)
