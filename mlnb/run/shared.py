"""A cached result becomes one that other machines have too, and theirs ours: the second tier of the cache.

Below the shared address lie the artifacts and, written after them, ``cache/<digest>.json``, format 1: ``result`` (a
cached stage as JSON text), ``signature`` and ``key``. Who may write to a bucket need not be trusted: a result counts
only if a key that this user trusts has signed it, and each artifact that can execute code on top of that; a document
that is damaged, incomplete, unsigned or signed by a stranger counts as absent, and the stage is executed here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from mlnb import plugins
from mlnb.errors import CorruptError, PluginError, UntrustedError
from mlnb.run.result import CachedStage
from mlnb.store import codec, signing
from mlnb.store.artifact import Artifact
from mlnb.store.bucket import bucket_at
from mlnb.store.folder import StateFolder
from mlnb.store.manifest import Fields

FORMAT = 1
_PURPOSE = "shared result 1 "
_NAME = re.compile(r"[\w.-]{1,200}")


def fetch(state: StateFolder, key: str) -> CachedStage | None:
    """Bring the result under a key, with its artifacts, from the shared cache; None where there is no good one."""
    bucket = bucket_at(state.shared)
    result = peek(state, key)
    if result is None:
        return None
    try:
        _check_code(result.artifacts)
    except UntrustedError as error:
        bucket.note(f"Results in {bucket.name} are not used: {error.problem} {error.remedy}")
        return None
    store = state.files
    needed = [(one.digest, one.size_bytes) for one in result.artifacts] + [(result.notebook, result.notebook_bytes)]
    return result if all(store.has(*one) or bucket.fetch(*one, store) for one in needed) else None


def peek(state: StateFolder, key: str) -> CachedStage | None:
    """Return what the shared cache says of a key, without its artifacts; None where nothing can be trusted."""
    bucket = bucket_at(state.shared)
    content = bucket.read(_place(key))
    if content is None:
        return None
    try:
        result = _opened(content, bucket.name)
    except (CorruptError, ValueError):
        return None
    except UntrustedError as error:
        why = f"you do not trust the key {error.key}, or they were changed since" if error.key else "nobody signed them"
        bucket.note(
            f"Some results in {bucket.name} are not used: {why}. "
            "Add the key with `mlnb doctor --trust FILE.pub` if you trust its owner."
        )
        return None
    plain = all(_NAME.fullmatch(name) for name in (result.stage, result.kind, *(a.name for a in result.artifacts)))
    return result if result.key == key and plain else None


def push(state: StateFolder, result: CachedStage) -> None:
    """Put a result into the shared cache: its artifacts first, the document that makes them count last."""
    bucket, store = bucket_at(state.shared), state.files
    needed = [(one.digest, one.size_bytes) for one in result.artifacts] + [(result.notebook, result.notebook_bytes)]
    if all(bucket.push(*one, store) for one in needed):
        text = json.dumps(result.to_json(), ensure_ascii=False, sort_keys=True)
        signature, key = signing.sign(_signed(text))
        document = {"format": FORMAT, "result": text, "signature": signature, "key": key}
        bucket.write(_place(result.key), json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def said(state: StateFolder) -> tuple[str, ...]:
    """Return what is to be said of the shared cache and was not said before; () where there is none."""
    return bucket_at(state.shared).said() if state.shared else ()


def _opened(content: bytes, source: str) -> CachedStage:
    """Return the result in a document that a trusted key has signed.

    Raises
    ------
    UntrustedError, CorruptError, ValueError
        If it is not signed so, or no such document.
    """
    document = json.loads(content)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(source)
    fields = Fields(source, document)
    text = fields.text("result")
    signing.verify(_signed(text), fields.text("signature"), fields.text("key"))
    return CachedStage.from_json(Fields(source, json.loads(text)))


def _check_code(artifacts: Sequence[Artifact]) -> None:
    for artifact in artifacts:
        try:
            kind = plugins.load(codec.GROUP, artifact.codec)
        except PluginError:
            continue  # its reader will say so; nothing can be executed without it
        if getattr(kind, "executes_code", True):
            signing.verify(artifact.digest, artifact.signature, artifact.key)


def _signed(text: str) -> str:
    return _PURPOSE + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _place(key: str) -> str:
    return f"cache/{key.removeprefix('sha256:')}.json"
