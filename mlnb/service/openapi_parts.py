"""What each answer of a service may have beside its own: refusals, headers, security, schemas like for every model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlnb.service.openapi_forms import ANYTHING, TEXT, Schema

JSON = "application/json"
ASKING = ("400", "404", "405", "408", "413", "415", "422", "429", "431", "500", "503")
LOOKING = ("404", "405", "429", "431", "500", "503")
REQUEST = ("X-Request-Id",)
WARNED = "X-Prediction-Warnings"
_GUARDED = ("401", "403")
_BEYOND: Mapping[str, Sequence[str]] = {
    "401": ("WWW-Authenticate",),
    "403": ("WWW-Authenticate",),
    "405": ("Allow",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}
_TOLD: Mapping[str, str] = {
    "400": "The body is not of the form.",
    "401": "No token was sent, or one that is unknown, revoked or expired.",
    "403": "The token lacks the scope.",
    "404": "No such path, model, version or alias.",
    "405": "The path does not take this method.",
    "408": "The body did not arrive in time.",
    "413": "More rows or bytes than one request may have.",
    "415": "The body is compressed, or of a media type that is not taken.",
    "422": "The rows do not fit the model's columns.",
    "429": "The token is above its rate.",
    "431": "The head of the request is too large.",
    "500": "The service, or a hook of the model, failed; the service's log says why.",
    "501": "The model cannot be explained.",
    "503": "Nothing is live, the log cannot be written, the deadline has passed, or there is too much to do.",
}


def headers() -> dict[str, object]:
    """Return the headers of answers."""
    told = {
        "X-Request-Id": ("The caller's, or one that was made; the log holds it.", True),
        "X-Model-Version": ("Which version answered.", True),
        "X-Prediction-Ids": ("Of up to 100 rows the ids of their predictions.", False),
        "Retry-After": ("Seconds after which to ask again.", False),
        WARNED: ("As JSON the first few things about the rows that are unlike what the model has seen.", False),
        "WWW-Authenticate": ("That a bearer token is asked for, and what is wrong with the one that came.", True),
        "Allow": ("The methods that the path takes.", True),
    }
    return {name: {"description": text, "required": must, "schema": TEXT} for name, (text, must) in told.items()}


def header_refs(names: Sequence[str]) -> dict[str, object]:
    """Return headers by name, as an answer refers to them."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def refusals() -> dict[str, object]:
    """Return the answers to what is refused: in our form, and in that of protocols that know just one text."""
    found: dict[str, object] = {}
    for code, told in _TOLD.items():
        names = (*REQUEST, *_BEYOND.get(code, ()))
        for prefix, schema in (("", "Refusal"), ("Plain", "PlainRefusal")):
            content = {JSON: {"schema": ref(schema)}}
            found[f"{prefix}{code}"] = {"description": told, "headers": header_refs(names), "content": content}
    return found


def plain_schemas() -> dict[str, Schema]:
    """Return the schemas that are the same for every model."""
    flag: Schema = {"type": "boolean"}
    number: Schema = {"type": "integer"}
    texts: Schema = {"type": "array", "items": TEXT}
    tensor = object_of(name=TEXT, datatype=TEXT, shape={"type": "array", "items": {"type": "integer", "minimum": -1}})
    tensors: Schema = {"type": "array", "items": tensor}
    status = object_of(
        version=TEXT, state={"const": "AVAILABLE"}, status=object_of(error_code=TEXT, error_message=TEXT)
    )
    indexed = object_of(name=TEXT, version=TEXT, state={"const": "READY"}, reason=TEXT)
    return {
        "Refusal": object_of(error=object_of(problem=TEXT, remedy=TEXT, faults=texts)),
        "PlainRefusal": object_of(error=TEXT),
        "Anything": dict(ANYTHING),
        "Alive": {"type": "object"},
        "Readiness": object_of(ready=flag, model=TEXT, revision=number, default=TEXT, aliases=ANYTHING, versions=texts),
        "ModelList": object_of(models=texts),
        "ModelStatus": object_of(name=TEXT, ready=flag, model_version_status={"type": "array", "items": status}),
        "ServerMetadata": object_of(name=TEXT, version=TEXT, extensions=texts),
        "Live": object_of(live=flag),
        "Ready": object_of(ready=flag),
        "ModelReady": object_of(name=TEXT, ready=flag),
        "ModelMetadata": object_of(name=TEXT, versions=texts, platform=TEXT, inputs=tensors, outputs=tensors),
        "RepositoryIndex": {"type": "array", "items": indexed},
    }


def parameters(callers: Sequence[str]) -> dict[str, object]:
    """Return the headers that a request for predictions may have; `callers` name those that choose a version."""
    told: dict[str, tuple[object, str]] = {
        "X-Request-Id": (TEXT, "It is logged."),
        "X-Request-Timeout-Ms": (
            {"type": "integer", "minimum": 1, "maximum": 999_999_999},
            "For how many milliseconds the caller waits; what is later is refused.",
        ),
        **dict.fromkeys(callers, (TEXT, "Who asks: the same caller is answered by the same version.")),
    }
    return {
        name: {"name": name, "in": "header", "schema": schema, "description": text}
        for name, (schema, text) in told.items()
    }


def secured(document: dict[str, Any], needs: Callable[[str, str], bool]) -> dict[str, Any]:
    """Return the document of a service that asks for tokens.

    Parameters
    ----------
    document : dict
        Of a service that asks for none.
    needs : callable
        Whether a method and a path need a token.
    """
    for path, item in document["paths"].items():
        for method in ("get", "post"):
            if method not in item:
                continue
            if not needs(method.upper(), path):
                item[method]["security"] = []
                continue
            responses = item[method]["responses"]
            prefix = "Plain" if responses["404"]["$ref"].endswith("/Plain404") else ""
            named = {code: {"$ref": f"#/components/responses/{prefix}{code}"} for code in _GUARDED}
            item[method]["responses"] = dict(sorted({**responses, **named}.items()))
    told = "What `mlnb services tokens add` has shown."
    schemes = {"bearer": {"type": "http", "scheme": "bearer", "description": told}}
    return {
        **document,
        "components": {**document["components"], "securitySchemes": schemes},
        "security": [{"bearer": []}],
    }


def ref(name: str) -> dict[str, object]:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(**properties: object) -> Schema:
    """Return the schema of an object that has all of some properties."""
    return {"type": "object", "properties": properties, "required": list(properties)}
