"""What reading a damaged or hostile package raises becomes one tuple of exceptions: whoever reads says a sentence.

Carried into the service: the standard library alone; onnxruntime's own exceptions are known once it is imported.
"""

from __future__ import annotations

import pickle
import sys
import tokenize
import zipfile
import zlib

_ONNX = (
    "EPFail",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "ModelLoadCanceled",
    "NoModel",
    "NoSuchFile",
    "NotImplemented",
    "RuntimeException",
)
_USUAL = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    pickle.PickleError,
    tokenize.TokenError,  # of numpy's headers
    zipfile.BadZipFile,
    zlib.error,
)


def damages() -> tuple[type[Exception], ...]:
    """Return what a model file, or any other file of a package, raises that is not what it should be."""
    state = sys.modules.get("onnxruntime.capi.onnxruntime_pybind11_state")
    own = [getattr(state, name, None) for name in _ONNX]
    return (*_USUAL, *(one for one in own if one is not None))
