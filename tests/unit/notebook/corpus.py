"""Tricky cells with the inputs among which they are run; nothing here says what is expected of the analysis.

`over` are names that a sound analysis may take, give or change although no run shows it, each with the reason behind it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

PRELUDE = """\
class Box:
    def __init__(self, **held):
        self.__dict__.update(held)
    def __enter__(self):
        return self
    def __exit__(self, *exc):
        pass
    async def __aenter__(self):
        return self
    async def __aexit__(self, *exc):
        pass
    async def __aiter__(self):
        for part in (1, 2):
            yield part
async def fetch(*args):
    return [1, 2]
def fail(*args):
    raise ValueError('no')
def ident(thing):
    return thing
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A cell, the inputs of each of its runs, and what may be over-wide.

    Attributes
    ----------
    after : str
        What runs behind the cell, to call what it has defined; its own reads do not count.
    over : str
        Names, parted by spaces, that the analysis may add to what was seen.
    fails : bool
        Whether the cell ends with an exception in some run.
    """

    cell: str
    runs: tuple[str, ...]
    after: str = ""
    over: str = ""
    fails: bool = False


def _case(cell: str, *runs: str, after: str = "", over: str = "", fails: bool = False) -> Case:
    return Case(cell, runs or ("",), after, over, fails)


_MATCH = [
    _case("match p:\n    case [a, b]:\n        s = a + b + k", "p = [1, 2]; k = 0", "p = 3; k = 0"),
    _case(
        "match p:\n    case [first, *rest]:\n        n = len(rest)\n    case _:\n        n = none",
        "p = [1]; none = 0",
        "p = 1; none = 0",
    ),
    _case(
        "match p:\n    case {'k': v, **rest}:\n        out = v, rest\n    case other:\n        out = other",
        "p = {'k': 1, 'z': 2}",
        "p = 3",
    ),
    _case(
        "match p:\n    case Point(x=0, y=y):\n        r = y\n    case Point():\n        r = far",
        "class Point: x = 0; y = 2\np = Point(); far = 9",
        "class Point: x = 1; y = 2\np = Point(); far = 9",
    ),
    _case(
        "match p:\n    case Colour.RED | Colour.BLUE as c:\n        r = c",
        "class Colour: RED = 1; BLUE = 2\np = 2",
        "class Colour: RED = 1; BLUE = 2\np = 3",
    ),
    _case(
        "match p:\n    case int(n) if n > limit:\n        big = n\n    case int() | float():\n        big = None",
        "p = 9; limit = 3",
        "p = 1; limit = 3",
    ),
    _case(
        "match p:\n    case (1, (x, [*_, last])):\n        pass\nlast_seen = last",
        "p = (1, (2, [3, 4])); last = 0",
        "p = 0; last = 0",
    ),
    _case(
        "match a, b:\n    case 1, x:\n        pass\n    case x, 1:\n        pass\n    case x:\n        pass\nprint(x)",
        "a = b = 1",
        "a = 2; b = 1",
        "a = b = 3",
    ),
    _case(
        "match p:\n    case str(text) if (n := len(text)) > 2:\n        pass\n    case _:\n        n = 0\nprint(n)",
        "p = 'abc'",
        "p = 'a'",
        "p = 1",
    ),
    _case(
        "match p:\n    case None:\n        kind = 'none'\n    case -1 | 'x' | b'y':\n        kind = 'const'\nkind",
        "p = None; kind = 0",
        "p = 5; kind = 0",
    ),
    _case(
        "match p:\n    case {'a': {'b': [x, y]}}:\n        del x\n    case _:\n        y = 0",
        "p = {'a': {'b': [1, 2]}}",
        "p = 1",
    ),
]

_WALRUS = [
    _case("if (n := len(rows)) > limit:\n    print(n)", "rows = [1]; limit = 3", "rows = [1] * 5; limit = 3"),
    _case("ok = [y for x in xs if (y := x * k) > 2]\nprint(y)", "xs = [1, 2, 3]; k = 2"),
    _case("big = [last := x for x in xs]", "xs = [1]", "xs = []"),
    _case("while (chunk := parts.pop()):\n    total += chunk", "parts = [0, 1, 2]; total = 0", over=""),
    _case("a = (b := c) + b", "c = 1"),
    _case("ok = p and (q := r)\nprint(q)", "p = 1; q = 2; r = 3", "p = 0; q = 2; r = 3"),
    _case("r = a < (m := b) < (t := c)\nprint(t)", "a = 1; b = 2; c = 3; t = 0", "a = 3; b = 2; c = 3; t = 0"),
    _case("x = (y := 1) if c else (z := 2)\nprint(y, z)", "c = 1; y = z = 0", "c = 0; y = z = 0"),
    _case("print((lambda: (w := v))())\n", "v = 1; w = 2"),
    _case("def f(x, y=(z := start)):\n    return x\nprint(z)", "start = 1"),
    _case("assert (total := sum(xs)), total", "xs = [1]"),
    _case("d = {(k := a): k for a in xs}\nprint(k)", "xs = [1]; k = 0", "xs = []; k = 0"),
]

_ASYNC = [
    _case("r = await fetch(url)", "url = 1"),
    _case("async for part in stream:\n    last = part\nprint(last)", "stream = Box(); last = 0"),
    _case("async with session as s:\n    got = await fetch(s, key)", "session = Box(); key = 1"),
    _case("got = [await fetch(u) for u in urls]", "urls = [1, 2]"),
    _case("got = [p async for p in stream if p > low]", "stream = Box(); low = 1"),
    _case("async def work(n=size):\n    return n + later\nlater = 1\nr = await work()", "size = 1"),
    _case("async def work():\n    return free\nc = work()\nfree = 2\nr = await c", "free = 1", over="free"),
    _case("import asyncio\nr = await asyncio.gather(*(fetch(u) for u in urls))", "urls = [1]"),
    _case("async def gen():\n    for x in xs:\n        yield x\nr = [x async for x in gen()]", "xs = [1]"),
]

_CLASSES = [
    _case("class A:\n    n = 3\n    ys = [n * k for k in range(2)]", "n = 1"),
    _case("class A:\n    xs = [1, 2]\n    ys = [x for x in xs]", "xs = 0"),
    _case(
        "class A:\n    size = width\n    area = size * height\n    def m(self):\n        return size\nA().m()",
        "width = 1; height = 2; size = 5",
    ),
    _case("class A:\n    x = x\n    x = x + 1", "x = 1"),
    _case("class A:\n    if c:\n        y = 1\n    z = y", "c = 1; y = 5", "c = 0; y = 5"),
    _case(
        "class A(Base, metaclass=Meta, flag=on):\n    pass",
        "class Meta(type):\n    def __new__(m, n, b, d, **k): return type.__new__(m, n, b, d)\n    def __init__(c, n, b, d, **k): pass\nclass Base: pass\non = 1",
    ),
    _case("class A:\n    global shared\n    shared = start\nprint(shared)", "start = 1"),
    _case("class A:\n    def m(self):\n        return helper()\na = A()", "def helper(): return 1", after="a.m()"),
    _case("class A:\n    def m(self):\n        return later\nlater = 1\nA().m()", ""),
    _case("class A:\n    def m(self):\n        return later\nr = A().m()\nlater = 1", "later = 5", over="later"),
    _case("class A:\n    class B:\n        v = outer\n        w = v\n    u = B.w", "outer = 1; v = 2"),
    _case("class A:\n    x = 1\n    del x\n    y = x", "x = 5"),
    _case(
        "def make():\n    local = seed\n    class A:\n        v = local\n        w = free\n    return A\nmake()",
        "seed = 1; free = 2; local = 3",
    ),
    _case(
        "class A:\n    a: Kind = 1\n    b: 'Unseen'\n    def m(self, x: Kind2) -> Kind3:\n        y: Unseen2 = 1\n        return y\nA().m(1)",
        "Kind = Kind2 = Kind3 = int",
    ),
    _case(
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    a: int = default\n    b: list = dataclasses.field(default_factory=lambda: list(filler))\nA()",
        "default = 1; filler = [1]",
    ),
    _case(
        "class A:\n    @property\n    def p(self):\n        return unit\n    @staticmethod\n    def s(v=std):\n        return v\nA().p",
        "unit = 1; std = 2",
    ),
    _case(
        "class A:\n    def __init__(self):\n        self.v = config['a']\n        seen.append(self)\nA()",
        "config = {'a': 1}; seen = []",
    ),
    _case("class A:\n    count = 0\n    def add(self):\n        A.count += step\nA().add()", "step = 1"),
    _case(
        "class A(B):\n    def m(self):\n        return super().m() + __class__.k\n    k = kk\nr = A().m()",
        "class B:\n    def m(self): return 1\nkk = 2",
    ),
    _case("class A:\n    for i in items:\n        locals()[f'a{i}'] = i", "items = [1]"),
    _case("class A:\n    f = lambda self: scale\nA().f()", "scale = 1"),
    _case("A = type('A', (Base,), {'x': value})", "class Base: pass\nvalue = 1"),
]

_FUNCTIONS = [
    _case("@deco(level)\ndef f():\n    return inner\n", "def deco(n): return ident\nlevel = 1; inner = 2", after="f()"),
    _case("@register\ndef f():\n    return inner", "def register(f): f(); return f\ninner = 2"),
    _case("def f(a, b=dflt, *, c=dflt2, **kw):\n    return a, free\n", "dflt = dflt2 = 1; free = 3", after="f(1)"),
    _case("def f(a: Ann, *b: Ann2, c: Ann3 = 1) -> Ret:\n    pass", "Ann = Ann2 = Ann3 = Ret = int"),
    _case(
        "from __future__ import annotations\ndef f(a: Ann) -> Ret:\n    x: Ann2 = 1\n    return x\nx: Ann3 = f(1)", ""
    ),
    _case("def f():\n    x: Unseen = value\n    return x\nf()", "value = 1"),
    _case("def f(box):\n    box.x: Unseen = value\nf(b)", "value = 1; b = Box()"),
    _case("x: Seen", "Seen = int; x = 1"),
    _case("x: Seen = x", "Seen = int; x = 1"),
    _case("box.x: Seen", "Seen = int; box = Box()", over="box"),
    _case("def f():\n    return late\nlate = 1\nf()", ""),
    _case("def f():\n    return late\nr = f()\nlate = 1", "late = 5"),
    _case("def f():\n    return late\nfs = [f]\nlate = 1\nfs[0]()", ""),
    _case(
        "def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n != 0 and even(n - step)\neven(2)",
        "step = 1",
    ),
    _case(
        "def outer():\n    x = a\n    def inner():\n        nonlocal x\n        x += b\n        return x\n    return inner\nr = outer()()",
        "a = b = 1; x = 9",
    ),
    _case("def f():\n    global made\n    made = {}\n    made['a'] = src\nf()\nprint(made)", "src = 1"),
    _case(
        "def f():\n    global made\n    if c:\n        made = 1\nf()\nprint(made)", "c = 1; made = 0", "c = 0; made = 0"
    ),
    _case("def f():\n    global n\n    n += 1\nf()", "n = 0"),
    _case("def f():\n    global n\n    n = n + 1\n    return n\n", "n = 0", after="f()", over="n"),
    _case("def f():\n    global tmp\n    tmp = 1\n    del tmp\nf()", "", over="tmp"),
    _case("def f():\n    global gone\n    del gone\nf()", "gone = 1", over="gone"),
    _case("def f():\n    def g():\n        global deep\n        deep = src\n    g()\nf()\nprint(deep)", "src = 1"),
    _case("def g():\n    global put\n    put = src\ndef f():\n    g()\nf()\nprint(put)", "src = 1; put = 0"),
    _case(
        "if c:\n    def f():\n        return a\nelse:\n    def f():\n        return b\nr = f()",
        "c = 1; a = b = 1",
        "c = 0; a = b = 1",
    ),
    _case(
        "try:\n    from nowhere_at_all import f\nexcept ImportError:\n    def f():\n        return fallback\nr = f()",
        "fallback = 1",
    ),
    _case("f = lambda: late\nlate = 1\nr = f()", ""),
    _case("f = g = lambda x, y=dflt: x + y + free\nr = f(1)", "dflt = free = 1"),
    _case("table = {'a': lambda: late, 'b': lambda: now}\nr = table['b']()\nlate = 2", "now = 1; late = 5"),
    _case("r = sorted(rows, key=lambda row: (row, weight))", "rows = [2, 1]; weight = 1"),
    _case("r = list(map(lambda v: v * k, vs))\nk = 5", "vs = [1]; k = 2", over="k"),
    _case("import functools\nadd = functools.partial(f, a)\nr = add(b)", "def f(x, y): return x\na = b = 1"),
    _case("def f():\n    import json as j\n    return j.dumps(v)\nf()", "v = 1; j = 2"),
    _case("def f():\n    try:\n        return a\n    finally:\n        log.append(b)\nf()", "a = b = 1; log = []"),
    _case("def f(x):\n    return f2(x)\ndef f2(x):\n    return x * k\nr = [f(v) for v in vs]", "k = 1; vs = [1]"),
    _case("def f():\n    for i in xs:\n        yield i * k\ng = f()", "xs = [1]; k = 2", over="xs k", after="list(g)"),
    _case("def f():\n    x = 1\n    return [x + y for y in ys]\nf()", "ys = [1]; x = 3"),
    _case("def f(*args, **kwargs):\n    return args, kwargs\nr = f(*a, **k)", "a = [1]; k = {}"),
    _case("def f():\n    return __name__, __doc__, print, len\nf()", ""),
    _case("import sys\ndef f():\n    return sys.maxsize\nf()", ""),
    _case("def f():\n    return sum(x * w for x in xs)\nr = f()", "xs = [1]; w = 2; x = 1"),
]

_COMPREHENSIONS = [
    _case("g = (x * k for x in xs)\nk = 2\nr = list(g)", "xs = [1]; k = 1"),
    _case("g = (x * k for x in xs)", "xs = [1]; k = 1", after="list(g)"),
    _case("g = (x for x in xs if x > low)\nlow = 0\nr = sum(g)", "xs = [1]"),
    _case("r = sum(x * k for x in xs)\nk = 2", "xs = [1]; k = 1"),
    _case("r = [x for x in x]", "x = [1]"),
    _case("r = [(x, y) for x in xs for y in f(x)]", "xs = [1]\ndef f(x): return [x]"),
    _case("r = [[c for c in row if c > low] for row in rows]", "rows = [[1]]; low = 0; c = 1"),
    _case("r = {k: v for k, (v, *_) in d.items()}", "d = {1: [2]}"),
    _case("r = {x for x in xs} | {y for y in ys}", "xs = ys = [1]; x = 1"),
    _case("r = [0 for d['k'] in xs]", "d = {}; xs = [1]"),
    _case("fs = [lambda: x + k for x in xs]\nk = 1\nr = fs[0]()", "xs = [1]"),
    _case("r = [f(x) for x in xs]\ndef f(x):\n    return x", "xs = [1]\ndef f(x): return x"),
    _case(
        "r = any(x == k for x in xs) and all(y for y in ys)", "xs = [1]; ys = [1]; k = 1", "xs = [1]; ys = [1]; k = 2"
    ),
    _case("r = [x for x in xs if (lambda v: v > t)(x)]", "xs = [1]; t = 0"),
    _case("r = dict(zip((a for a in aa), [b for b in bb]))", "aa = bb = [1]"),
    _case("print(*(x for x in xs), sep=sep)", "xs = [1]; sep = ' '"),
    _case("it = iter(x * k for x in xs)\nk = 3\nfirst = next(it)", "xs = [1]; k = 1", over="k"),
]

_BINDING = [
    _case("a, *b = pair", "pair = [1, 2]"),
    _case("(a, [b, (c, *d)]), e = v", "v = (1, [2, (3, 4)]), 5"),
    _case("a = b = c = d", "d = 1"),
    _case("a[i], b.x = a[j], c", "a = [1, 2]; i = 0; j = 1; b = Box(); c = 2"),
    _case("i = 0\nxs[i], i = i, 1", "xs = [1]"),
    _case("x += 1", "x = 1"),
    _case("x = 1\nx += y", "y = 1"),
    _case("xs[k] += d", "xs = [1]; k = 0; d = 1"),
    _case("box.n -= d", "box = Box(n=1); d = 1"),
    _case("m @= n", "class M:\n    def __matmul__(self, o): return self\nm = M(); n = M()"),
    _case("del x", "x = 1"),
    _case("x = 1\ndel x", "x = 0"),
    _case("del x\nx = 2", "x = 1"),
    _case("del a, b[0], c.x, d['k']", "a = 1; b = [1]; c = Box(x=1); d = {'k': 1}"),
    _case("x = y\ndel y\ny = x + 1", "y = 1"),
    _case("if c:\n    del x", "c = 1; x = 1", "c = 0; x = 1", over="x"),
    _case("if c:\n    x = 1\nprint(x)", "c = 1; x = 0", "c = 0; x = 0"),
    _case(
        "if c:\n    x = 1\nelif d:\n    x = 2\nelse:\n    x = e\nprint(x)",
        "c = 1; d = 0; e = 3",
        "c = 0; d = 0; e = 3",
        "c = 0; d = 1; e = 3",
    ),
    _case("x = x", "x = 1"),
    _case("y = x\nx = 2", "x = 1"),
    _case(
        "print(f'{a:{w}.{p}} {b!r} {c=} {d[k]} {e():>{len(f)}}')",
        "a = 1.5; w = 5; p = 2; b = c = 1; d = {1: 2}; k = 1; e = lambda: 1; f = 'x'",
    ),
    _case("print('%s %s' % (a, b), '{}'.format(c), '{x}', '{y}'.format(y=z))", "a = b = c = z = 1; x = y = 1"),
    _case("r = a < b < c", "a = 1; b = 2; c = 3"),
    _case("r = xs[lo:hi:st], xs[...] if e else None", "xs = [1]; lo = hi = st = None; e = 0"),
    _case("r = {**a, 'k': b, **c}, [*d, e], (*f,)", "a = c = {}; d = f = []; b = e = 1"),
    _case("assert c, m", "c = 1; m = 1", "c = 0; m = 1", fails=True),
    _case("raise E(m) from cause", "E = ValueError; m = 1; cause = KeyError()", fails=True),
    _case("import os.path, sys as s\nfrom json import dumps as d, loads\nprint(os.sep)", "os = 1"),
    _case("import xml.dom\nimport xml.sax as sax\nxml", ""),
    _case("__all__ = ['a', name]\na = 1", "name = 'n'"),
    _case("_, x = pair\nprint(_)", "pair = (1, 2)"),
    _case("type = kind\nprint(type)", "kind = 1"),
    _case("r = max(xs)", "xs = [1]; max = lambda v: v[0]"),
    _case("list = [1]\nr = list + sum", "sum = [2]"),
    _case("global x\nx = y\n", "y = 1"),
    _case("x: int\nprint(x)", "x = 1"),
    _case("(x): Seen = 1", "Seen = int"),
    _case("if not xs: raise ValueError(xs)\nn = len(xs)", "xs = [1]", "xs = []", fails=True),
    _case("r = not a or -b + ~c ** d", "a = 1; b = c = d = 2"),
    _case("r = a if b else c", "a = c = 1; b = 1", "a = c = 1; b = 0"),
    _case("...\nNotImplemented\n'text'\nx", "x = 1"),
]

_FLOW = [
    _case("for x in xs:\n    pass\nprint(x)", "xs = [1]; x = 0", "xs = []; x = 0"),
    _case(
        "for x in xs:\n    if x == k:\n        found = x\n        break\nelse:\n    found = other\nprint(found)",
        "xs = [1]; k = 1; other = 5",
        "xs = [1]; k = 2; other = 5",
        over="found",
    ),
    _case("for x in xs:\n    total = total + x", "xs = [1]; total = 0"),
    _case("for i in range(3):\n    if i:\n        print(prev)\n    prev = i", "prev = 0", over="prev"),
    _case("for k, (a, *b) in d:\n    print(a)", "d = [(1, (2, 3))]"),
    _case("for box.n in xs:\n    pass", "box = Box(n=0); xs = [1]"),
    _case("for x in xs:\n    continue\n    y = 1\nprint(y)", "xs = [1]; y = 0", over="y"),
    _case(
        "for x in xs:\n    def f():\n        return x + k\nr = f()",
        "xs = [1]; k = 1\ndef f(): return 0",
        "xs = []; k = 1\ndef f(): return 0",
    ),
    _case("while n > 0:\n    n -= step\nelse:\n    end = last", "n = 2; step = 1; last = 1"),
    _case("while True:\n    x = f()\n    if x:\n        break\nprint(x)", "def f(): return 1", over="x"),
    _case("while c:\n    y = 1\n    c = 0\nprint(y)", "c = 1; y = 0", "c = 0; y = 0"),
    _case(
        "try:\n    x = f(a)\nexcept ValueError as e:\n    x = str(e)\nprint(x)", "f = ident; a = 1", "f = fail; a = 1"
    ),
    _case(
        "e = 1\ntry:\n    f()\nexcept ValueError as e:\n    pass\ntry:\n    print(e)\nexcept NameError:\n    e = 2",
        "def f(): pass",
        "f = fail",
        over="e",
    ),
    _case(
        "try:\n    f()\nexcept ValueError as err:\n    seen = err\n",
        "f = fail; err = 1",
        "def f(): pass\nerr = 1",
        over="err",
    ),
    _case(
        "try:\n    x = f(1)\n    y = g(1)\nexcept ValueError:\n    pass\nprint(x, y)",
        "f = ident; g = fail; x = y = 0",
        "f = fail; g = ident; x = y = 0",
        "f = g = ident; x = y = 0",
    ),
    _case("try:\n    x = f(1)\nfinally:\n    n = m", "f = ident; m = 1", "f = fail; m = 1", fails=True),
    _case(
        "try:\n    x = f(1)\nexcept (ValueError, Other):\n    raise\nelse:\n    y = x\nprint(y)",
        "f = ident; Other = KeyError",
        "f = fail; Other = KeyError",
        fails=True,
        over="Other",
    ),
    _case(
        "try:\n    try:\n        x = f(1)\n    finally:\n        n = x\nexcept ValueError:\n    pass",
        "f = ident; x = 0",
        "f = fail; x = 0",
    ),
    _case(
        "try:\n    cached\nexcept NameError:\n    cached = make()",
        "def make(): return 1",
        "def make(): return 1\ncached = 2",
    ),
    _case(
        "if 'cached' not in globals():\n    cached = make()\nprint(cached)",
        "def make(): return 1",
        "def make(): return 1\ncached = 2",
    ),
    _case(
        "try:\n    f()\nexcept* ValueError as group:\n    n = len(group.exceptions)\nexcept* kind:\n    n = 0",
        "def f(): raise ExceptionGroup('', [ValueError()])\nkind = KeyError",
        "def f(): raise KeyError\nkind = KeyError",
        over="kind",
    ),
    _case(
        "import contextlib\nwith contextlib.suppress(ValueError):\n    x = f(1)\nprint(x)",
        "f = fail; x = 0",
        "f = ident; x = 0",
    ),
    _case(
        "from contextlib import suppress as quiet, suppress\nwith suppress(KeyError):\n    y = d['k']\nprint(y)",
        "d = {}; y = 0",
        "d = {'k': 1}; y = 0",
    ),
    _case(
        "with a as x, b as (y, z):\n    w = x\nprint(y, w)",
        "a = Box()\nclass P(Box):\n    def __enter__(self): return 1, 2\nb = P()",
    ),
    _case("with a as box.held:\n    pass", "a = Box(); box = Box()"),
    _case("with open_it(path) as f, f as g:\n    pass", "def open_it(p): return Box()\npath = 1; f = 2"),
    _case(
        "try:\n    import nowhere_at_all as fast\nexcept ImportError:\n    fast = None\nif fast is not None:\n    print(speed)",
        "speed = 1",
        over="speed",
    ),
    _case(
        "if flag:\n    import json as codec\nelse:\n    codec = plain\ncodec",
        "flag = 1; plain = 2",
        "flag = 0; plain = 2",
    ),
    _case(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nowhere_at_all import T\nx = y",
        "y = 1",
        over="T",
    ),
    _case(
        "def f(n):\n    while True:\n        try:\n            return g(n)\n        except ValueError:\n            n = retry\nr = f(1)",
        "g = ident; retry = 2",
        over="retry",
    ),
    _case(
        "for x in xs:\n    try:\n        y = f(x)\n    except ValueError:\n        continue\n    ys.append(y)",
        "xs = [1]; f = ident; ys = []",
        "xs = [1]; f = fail; ys = []",
    ),
    _case("x = 1\nfor _ in xs:\n    del x\nprint('x' in dir())", "xs = [1]", "xs = []", over="x"),
]

_CHANGES = [
    _case("df['c'] = df['a'] * k", "import pandas as pd\ndf = pd.DataFrame({'a': [1]}); k = 2"),
    _case("df.loc[df.a > 0, 'b'] = v", "import pandas as pd\ndf = pd.DataFrame({'a': [1], 'b': [0]}); v = 2"),
    _case(
        "df.columns = names\ndf.index.name = 'i'", "import pandas as pd\ndf = pd.DataFrame({'a': [1]}); names = ['z']"
    ),
    _case("df.insert(0, 'n', v)\ny = df.pop('a')", "import pandas as pd\ndf = pd.DataFrame({'a': [1]}); v = 2"),
    _case("df.rename(columns={'a': 'b'}, inplace=True)", "import pandas as pd\ndf = pd.DataFrame({'a': [1]})"),
    _case(
        "clean = df.drop(columns='a').assign(c=1)\nclean['d'] = 2",
        "import pandas as pd\ndf = pd.DataFrame({'a': [1], 'b': 2})",
    ),
    _case("X = df[['a']]\nX['z'] = 1", "import pandas as pd\ndf = pd.DataFrame({'a': [1], 'b': 2})"),
    _case("part = df[df.a > 0]\npart['z'] = 1", "import pandas as pd\ndf = pd.DataFrame({'a': [1], 'b': 2})"),
    _case(
        "for frame in (train, test):\n    frame['z'] = k",
        "import pandas as pd\ntrain = pd.DataFrame({'a': [1]}); test = train.copy(); k = 1",
    ),
    _case(
        "for name, frame in frames.items():\n    frame['z'] = 1",
        "import pandas as pd\nframes = {'t': pd.DataFrame({'a': [1]})}",
    ),
    _case(
        "both = [train, test]\nfor frame in both:\n    frame.drop(columns='a', inplace=True)",
        "import pandas as pd\ntrain = pd.DataFrame({'a': [1]}); test = train.copy()",
    ),
    _case("a[0] = 1\na[mask] += 2\nb = a * 2\nb[0] = 1", "import numpy as np\na = np.zeros(3); mask = a == 0"),
    _case(
        "np.add(a, b, out=c)\nnp.copyto(d, a)",
        "import numpy as np\na = np.ones(2); b = np.ones(2); c = np.zeros(2); d = np.zeros(2)",
    ),
    _case("row = a[0]\nrow[0] += 1", "import numpy as np\na = np.zeros((2, 2))"),
    _case("inner = d['k']\ninner.append(1)", "d = {'k': []}"),
    _case("part = cfg.model\npart.depth = 3", "cfg = Box(model=Box(depth=1))"),
    _case("x = y = frame\ny['k'] = 1", "frame = {}"),
    _case("p, q = a, b\nq.append(1)", "a = []; b = []"),
    _case("p = a if c else b\np.append(1)", "a = []; b = []; c = 1", "a = []; b = []; c = 0"),
    _case("p = a or b\np.append(1)", "a = []; b = []", "a = [1]; b = []"),
    _case("if c:\n    p = a\nelse:\n    p = b\np.append(1)", "a = []; b = []; c = 1", "a = []; b = []; c = 0"),
    _case("(p := a).append(1)", "a = []"),
    _case("with lock as held:\n    held.n = 1", "lock = Box(n=0)"),
    _case("xs.append(1)\nys.extend(z)\nzs += [1]\nws.sort()", "xs = []; ys = []; z = [1]; zs = []; ws = [2, 1]"),
    _case("d.update(a=1)\nd.setdefault('b', []).append(2)\nd |= e", "d = {}; e = {}"),
    _case("s.add(1)\ns2.discard(1)\ns3 -= s", "s = set(); s2 = {1}; s3 = {1}"),
    _case("[seen.add(x) for x in xs]", "seen = set(); xs = [1]"),
    _case("_ = [seen.append(x) for x in xs]", "seen = []; xs = [1]"),
    _case(
        "c and seen.append(1)\nseen2.append(1) if c else None",
        "seen = []; seen2 = []; c = 1",
        "seen = []; seen2 = []; c = 0",
    ),
    _case("call(lambda: seen.append(1))", "seen = []\ndef call(f): f()"),
    _case("def note(x):\n    seen.append(x)\nlist(map(note, xs))", "seen = []; xs = [1]"),
    _case("def note():\n    seen['n'] = 1\ndef outer():\n    note()\nouter()", "seen = {}"),
    _case("def put(d, k):\n    d[k] = 1\ndef outer(e):\n    put(e, 'a')\nouter(target)", "target = {}"),
    _case("def put(d):\n    local = d\n    local['a'] = 1\nput(target)", "target = {}"),
    _case("def put():\n    local = config\n    local['a'] = 1\nput()", "config = {}"),
    _case("def put(d):\n    d = dict(d)\n    d['a'] = 1\n    return d\nr = put(target)", "target = {}", over="target"),
    _case("put = lambda d: d.update(a=1)\nput(target)", "target = {}"),
    _case("def put(*, d):\n    d['a'] = 1\nput(d=target)", "target = {}"),
    _case("def put(*ds):\n    for d in ds:\n        d['a'] = 1\nput(one, two)", "one = {}; two = {}"),
    _case(
        "class Log:\n    def __init__(self, sink):\n        self.sink = sink\n    def note(self, x):\n        total.append(x)\nLog(total).note(1)",
        "total = []",
    ),
    _case("first = next(it)\nrest = list(other)", "it = iter([1, 2]); other = [1]"),
    _case(
        "import random, heapq, bisect\nrandom.shuffle(a)\nheapq.heappush(b, 1)\nbisect.insort(c, 1)",
        "a = [1, 2, 3, 4, 5, 6, 7, 8, 9]; b = []; c = []",
    ),
    _case(
        "x = rng.normal(size=2)\ny = rng2.choice([1, 2])",
        "import numpy as np\nrng = np.random.default_rng(0); rng2 = np.random.default_rng(1)",
    ),
    _case(
        "setattr(cfg, 'a', 1)\nobject.__setattr__(cfg2, 'b', 1)\nvars(cfg3)['c'] = 1\ncfg4.__dict__.update(d=1)",
        "cfg = Box(); cfg2 = Box(); cfg3 = Box(); cfg4 = Box()",
    ),
    _case("import operator\noperator.setitem(d, 'a', 1)\nd2.__setitem__('a', 1)", "d = {}; d2 = {}"),
    _case(
        "while queue:\n    done.append(queue.popleft())", "from collections import deque\nqueue = deque([1]); done = []"
    ),
    _case("while stack:\n    top = stack.pop()", "stack = [1, 2]"),
    _case("a, b[0] = 1, 2\n[c['k'], d.x] = 1, 2", "b = [0]; c = {}; d = Box()"),
    _case(
        "model.set_params(c=2)\nm2.fit([0])",
        "class M:\n    def fit(self, x): self.x_ = x\n    c = 1\n    def set_params(self, c): self.c = c\nmodel = M(); m2 = M()",
    ),
    _case("pipe.steps.append(1)\npipe.named['a'].depth = 2", "pipe = Box(steps=[], named={'a': Box(depth=1)})"),
    _case(
        "tensor.add_(1)\nnet.train()\nopt.step()",
        "class T:\n    n = 0\n    def add_(self, v): self.n = 1\n    def train(self): self.n = 1\n    def step(self): self.n = 1\ntensor = T(); net = T(); opt = T()",
    ),
    _case(
        "fig.update_layout(title='x')\nax.set_title('y')\nfig.add_trace(t)",
        "class F:\n    n = 0\n    def update_layout(self, title): self.n += 1\n    def set_title(self, t): self.n = 1\n    def add_trace(self, t): self.n += 1\nfig = F(); ax = F(); t = 1",
    ),
    _case("for a, b in zip(xs, ys):\n    b.append(a)", "xs = [1]; ys = [[]]"),
    _case("for i, row in enumerate(rows):\n    row['i'] = i", "rows = [{}]"),
    _case("for row in sorted(rows, key=len):\n    row['i'] = 1", "rows = [{}]"),
    _case("copy = list(rows)\ncopy.append(1)\ncopy2 = rows.copy()\ncopy2.append(1)", "rows = []"),
    _case("import copy\nmine = copy.deepcopy(cfg)\nmine['a'] = 1", "cfg = {}"),
    _case("cfg['a']['b'].c[0] = v", "cfg = {'a': {'b': Box(c=[0])}}; v = 1"),
    _case("del xs[:], d['k']", "xs = [1]; d = {'k': 1}"),
    _case("f.cache = {}", "def f(): pass"),
]

_CHANGES += [
    _case("[m.append(1) for m in models]", "models = [[], []]"),
    _case("fitted = [m.setdefault('k', 1) for m in models]", "models = [{}, {}]"),
    _case("for m in models:\n    pass\nm.append(1)", "models = [[]]", over="m"),
    _case("kept = [m for m in models if m is not None]\nfor m in kept:\n    m.append(1)", "models = [[]]"),
    _case("match d:\n    case {'k': inner}:\n        inner.append(1)", "d = {'k': []}"),
    _case(
        "data = {'train': train, 'test': test}\nfor part in data.values():\n    part.append(1)", "train = []; test = []"
    ),
    _case("[[x.append(y) for x in row] for row in rows]", "rows = [[[]]]; y = 1"),
    _case("for x in x:\n    x.append(1)", "x = [[]]"),
]

_DYNAMIC = [
    _case("globals()['made'] = src\nprint(made)", "src = 1"),
    _case("x = globals()['src']", "src = 1"),
    _case("x = globals().get('src', 0)", "src = 1", ""),
    _case("globals().update(a=src, b=2)\nprint(a)", "src = 1"),
    _case("x = locals()['src'] + vars()['other']", "src = other = 1"),
    _case("exec('made = src + 1')\nprint(made)", "src = 1; made = 5", over="made"),
    _case("r = eval('a + b', {'a': 1, 'b': c})", "a = b = 5; c = 1", over="a b"),
    _case("r = eval('a * 2')", "a = 1"),
    _case("del globals()['x']", "x = 1"),
    _case("def f():\n    globals()['made'] = src\nf()\nprint(made)", "src = 1"),
    _case("getattr(box, 'x')\nhasattr(box, name)", "box = Box(x=1); name = 'y'"),
    _case(
        "r = df.query('a > @low')\ns = df.eval('a + @k')",
        "import pandas as pd\ndf = pd.DataFrame({'a': [1]}); low = 0; k = 1",
        over="low k",
    ),  # pandas looks into our frame
    _case("import sys\nmain = sys.modules[__name__]", ""),
    _case("code = compile('q + 1', 'c', 'eval')", "q = 1"),
]

_GENERIC = [  # PEP 695 and 696: Python 3.12 and 3.13
    _case("def first[T](xs: list[T], k: Kind) -> T:\n    return xs[0]\nfirst(v, 1)", "Kind = int; v = [1]; T = 1"),
    _case(
        "class Stack[T](Base):\n    def push(self, x: T) -> None:\n        self.x = x + k\nStack().push(1)",
        "class Base: pass\nk = 1",
    ),
    _case("type Pair = tuple[Left, Left]\n", "Left = int", after="Pair.__value__"),
    _case("type Pair[K] = dict[K, Value]\nValue = int\nPair.__value__", ""),
    _case(
        "def f[T: (Bound, int)](x: T) -> T:\n    return x\n",
        "Bound = int",
        after="f.__type_params__[0].__constraints__",
    ),
    _case("class A:\n    n = 3\n    ys = [n * k for k in range(2)]\n    type Al = n", "n = 1"),
    _case("def f():\n    type Local = Kind\n    return Local\nf()", "Kind = int", over="Kind"),
]

CASES = [
    *_MATCH,
    *_WALRUS,
    *_ASYNC,
    *_CLASSES,
    *_FUNCTIONS,
    *_COMPREHENSIONS,
    *_BINDING,
    *_FLOW,
    *_CHANGES,
    *_DYNAMIC,
    *(_GENERIC if sys.version_info >= (3, 12) else ()),
]
