"""What a service has loaded and how it is configured become its OpenAPI document, version 3.1.

Every route, every status that it can answer with, and bodies whose schemas come from the one signature of the version
behind the default alias, with examples from its package. An alias with another signature has a path of its own.

Source: OpenAPI Specification 3.1.0 (https://spec.openapis.org/oas/v3.1.0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlnb.model.answer_numbers import explained
from mlnb.model.kinds import TASKS
from mlnb.model.metadata import explanations_schema
from mlnb.model.signature import Signature
from mlnb.service.openapi_forms import (
    TEXT,
    Example,
    Schema,
    answered_examples,
    asked_examples,
    foreign_schemas,
    labels_body,
    own_schemas,
    table_media,
)
from mlnb.service.openapi_parts import (
    ASKING,
    JSON,
    LOOKING,
    REQUEST,
    WARNED,
    header_refs,
    headers,
    object_of,
    parameters,
    plain_schemas,
    ref,
    refusals,
)


@dataclass(frozen=True, slots=True)
class Live:
    """An alias, the number of its version and what that takes and gives."""

    alias: str
    number: int
    signature: Signature


@dataclass(frozen=True, slots=True)
class Served:
    """What is to be described.

    Attributes
    ----------
    model : str
        Its name.
    default : Live
        What is asked without an alias.
    example : Example
        Of the default's package.
    aliases : sequence of Live
        All of them.
    max_rows : int
        As many a request may have.
    explain_rows : int
        As many a request to explain may have; 0 where the service does not explain.
    named : mapping of str to bool
        Further paths, as a platform chose them: whether they answer predictions, or else readiness.
    callers : sequence of str
        Headers by which the traffic between versions knows a caller.
    """

    model: str
    default: Live
    example: Example
    aliases: Sequence[Live]
    max_rows: int
    explain_rows: int = 0
    named: Mapping[str, bool] = field(default_factory=dict)
    callers: Sequence[str] = ()


def openapi(served: Served) -> dict[str, object]:
    """Return the OpenAPI document of a service."""
    signature = served.default.signature
    schemas = {
        **own_schemas(signature, served.max_rows),
        **foreign_schemas(signature, served.max_rows),
        "Labels": labels_body([one.signature for one in served.aliases], served.max_rows),
        "Accepted": object_of(accepted={"type": "integer", "minimum": 0}),
        **plain_schemas(),
    }
    writer = _Writer(served)
    paths = {**writer.ours(), **writer.foreign(), **writer.probes(), **writer.inference(), **writer.described()}
    for other in _others(served):
        own = own_schemas(other.signature, served.max_rows)
        renamed = {f"{name}Of{other.number}": schema for name, schema in own.items()}
        schemas |= _pointing(renamed, other.number)
        told = f"Answer each row with {TASKS[other.signature.task]}."
        asked, answered = f"PredictOf{other.number}", f"AnswerOf{other.number}"
        paths[f"/aliases/{other.alias}/predict"] = {
            "post": writer.asked(f"predict_{other.alias}", told, asked, answered, "Predictions")
        }
    if served.explain_rows and explained(signature):
        rows = {"type": "array", "items": ref("Row"), "minItems": 1, "maxItems": served.explain_rows}
        schemas["Explain"] = {**object_of(rows=rows), "additionalProperties": False}
        schemas["Explanations"] = explanations_schema(signature)
        told = "Share out each answer among the columns."
        explain = writer.asked("explain", told, "Explain", "Explanations", "Predictions", more=("501",))
        paths["/explain"] = {"post": explain}
    number = str(served.default.number)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": served.model,
            "version": number,
            "summary": f"A {signature.task}, served by mlnb.",
            "description": f"Each row is answered with {TASKS[signature.task]}. Try it at docs.",
        },
        "servers": [{"url": "."}],
        "tags": [
            {"name": "Predictions", "description": "Ask, explain, and tell later what came true."},
            {"name": "Operations", "description": "Whether the service lives and answers, and its figures."},
            {"name": "Open Inference Protocol", "description": "Version 2, as KServe and Triton speak it."},
            {"name": "Other forms", "description": "MLflow, SageMaker, TensorFlow Serving, KServe, Vertex, Azure ML."},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": refusals(),
            "headers": headers(),
            "parameters": parameters(served.callers),
        },
    }


class _Writer:
    """Writes the path items of one service."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._sent = list(parameters(served.callers))
        self._asked = asked_examples(served.default.signature, served.example)
        self._answered = answered_examples(served.example, served.model, str(served.default.number))
        alike = [one for one in served.aliases if one.signature == served.default.signature]
        self._model = _parameter("model", [served.model])
        self._number = _parameter("number", sorted({str(one.number) for one in alike}, key=int))
        self._any_number = _parameter("number", sorted({str(one.number) for one in served.aliases}, key=int))
        self._alias = _parameter("alias", [one.alias for one in alike])
        self._any_alias = _parameter("alias", [one.alias for one in served.aliases])

    def asked(
        self,
        name: str,
        told: str,
        body: str,
        answer: str,
        tag: str,
        *,
        refusal: str = "",
        told_in: Sequence[str] = ("X-Request-Id", "X-Model-Version"),
        more: Sequence[str] = (),
        request: Mapping[str, object] | None = None,
        answered: Mapping[str, object] | None = None,
    ) -> dict[str, object]:
        """Return the operation of a route that takes a body."""
        media = {JSON: _media(body, self._asked), **(request or {})}
        content = {JSON: _media(answer, self._answered), **(answered or {})}
        return {
            "operationId": name,
            "summary": told,
            "tags": [tag],
            "parameters": [{"$ref": f"#/components/parameters/{one}"} for one in self._sent],
            "requestBody": {"required": True, "content": media},
            "responses": {
                "200": {"description": "Answered.", "headers": header_refs(told_in), "content": content},
                **{code: {"$ref": f"#/components/responses/{refusal}{code}"} for code in sorted((*ASKING, *more))},
            },
        }

    def ours(self) -> dict[str, object]:
        told = f"Answer each row with {TASKS[self._served.default.signature.task]}."
        first = self.asked("predict", told, "Predict", "Answer", "Predictions")
        second = self.asked("predict_alias", told, "Predict", "Answer", "Predictions")
        label = self.asked("label", "Tell what came true.", "Labels", "Accepted", "Predictions", told_in=REQUEST)
        return {
            "/predict": {"post": first},
            "/aliases/{alias}/predict": {"parameters": [self._alias], "post": second},
            "/labels": {"post": label},
        }

    def foreign(self) -> dict[str, object]:
        ids = ("X-Request-Id", "X-Model-Version", "X-Prediction-Ids", WARNED)
        tables = table_media(self._served.default.signature)

        def of(name: str, told: str, body: str, answer: str, plain: str = "") -> dict[str, object]:
            given = tables if name == "invocations" else {}
            made: dict[str, object] = {media: {} for media in given}
            return self.asked(
                name, told, body, answer, "Other forms", refusal=plain, told_in=ids, request=given, answered=made
            )

        ask = "Answer as MLflow and SageMaker do"
        first = "Answer as TensorFlow Serving, KServe and Vertex AI do"
        paths: dict[str, object] = {
            "/invocations": {"post": of("invocations", f"{ask}.", "Invocations", "Predictions")},
            "/score": {"post": of("score", "Answer as Azure ML does.", "InputData", "BareList")},
        }
        for path, name, parameter, said in (
            ("", "", None, "."),
            ("/versions/{number}", "_version", self._number, ", with one version."),
            ("/labels/{alias}", "_label", self._alias, ", with the version behind an alias."),
        ):
            operation = of(f"predict_v1{name}", first + said, "Instances", "PredictionsOrOutputs", "Plain")
            named = [self._model, *([parameter] if parameter else [])]
            paths[f"/v1/models/{{model}}{path}:predict"] = {"parameters": named, "post": operation}
        for at, (path, predicts) in enumerate(sorted(self._served.named.items())):
            operation = of(f"named_{at}", f"{first}.", "Instances", "PredictionsOrOutputs")
            paths[path] = {"post": operation} if predicts else {"get": _look(f"named_{at}", _READY, "Readiness")}
        return paths

    def inference(self) -> dict[str, object]:
        tag, paths = "Open Inference Protocol", dict[str, object]()
        binary = {
            "application/octet-stream": {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
        }
        for path, name, mine, any_of in (
            ("", "", (), ()),
            ("/versions/{number}", "_version", (self._number,), (self._any_number,)),
        ):
            model = f"/v2/models/{{model}}{path}"
            infer = self.asked(
                f"infer{name}",
                "Answer tensors with tensors.",
                "Infer",
                "Inferred",
                tag,
                refusal="Plain",
                told_in=("X-Request-Id", "X-Model-Version", WARNED),
                answered=binary,
            )
            paths[f"{model}/infer"] = {"parameters": [self._model, *mine], "post": infer}
            for end, what, schema in (("", "metadata", "ModelMetadata"), ("/ready", "ready", "ModelReady")):
                told = "Whether the model answers." if end else "What the model takes and gives."
                look = _look(f"model_{what}{name}", told, schema, tag, plain=True)
                paths[f"{model}{end}"] = {"parameters": [self._model, *any_of], "get": look}
        for path, name, told, schema in (
            ("/v2", "server_metadata", "What the server speaks.", "ServerMetadata"),
            ("/v2/health/live", "live", "Whether the server lives.", "Live"),
            ("/v2/health/ready", "ready", "Whether the server answers.", "Ready"),
        ):
            paths[path] = {"get": _look(name, told, schema, tag, plain=path != "/v2")}
        index = _look("repository_index", "The versions that are served.", "RepositoryIndex", tag, plain=True)
        paths["/v2/repository/index"] = {"post": index}
        return paths

    def probes(self) -> dict[str, object]:
        ready = ("/readyz", "/ping", "/health")
        return {
            "/healthz": {"get": _look("healthz", "Whether the process lives.", "Alive")},
            **{path: {"get": _look(path.strip("/"), _READY, "Readiness")} for path in ready},
            "/metrics": {"get": _look("metrics", "Figures for Prometheus.", "", media="text/plain")},
        }

    def described(self) -> dict[str, object]:
        first = "Other forms"
        model, told = [self._model], "The state of the versions, as TensorFlow Serving and KServe tell it."
        return {
            "/": {"get": _look("root", "That the server lives, as KServe asks it.", "Alive")},
            "/docs": {"get": _look("docs", "A page to try the service.", "", media="text/html")},
            "/openapi.json": {"get": _look("openapi", "This document.", "Anything")},
            "/v1/models": {"get": _look("models_v1", "The models.", "ModelList", first, plain=True)},
            "/v1/models/{model}": {
                "parameters": model,
                "get": _look("model_v1", told, "ModelStatus", first, plain=True),
            },
            "/v1/models/{model}/versions/{number}": {
                "parameters": [*model, self._any_number],
                "get": _look("model_v1_version", told, "ModelStatus", first, plain=True),
            },
            "/v1/models/{model}/labels/{alias}": {
                "parameters": [*model, self._any_alias],
                "get": _look("model_v1_label", told, "ModelStatus", first, plain=True),
            },
        }


_READY = "Whether predictions are answered."


def _look(
    name: str, told: str, schema: str, tag: str = "Operations", *, plain: bool = False, media: str = JSON
) -> dict[str, object]:
    """Return the operation of a route that takes no body."""
    content = {media: {"schema": ref(schema) if schema else TEXT}}
    answer = {"description": "Yes.", "headers": header_refs(REQUEST), "content": content}
    refused = {code: {"$ref": f"#/components/responses/{'Plain' if plain else ''}{code}"} for code in LOOKING}
    if schema == "Readiness":
        refused["503"] = {**answer, "description": "Not now."}  # type: ignore[dict-item]
    return {"operationId": name, "summary": told, "tags": [tag], "responses": {"200": answer, **refused}}


def _others(served: Served) -> list[Live]:
    """Return the aliases whose version takes or gives something else than the default's."""
    return [one for one in served.aliases if one.signature != served.default.signature]


def _pointing(schemas: Mapping[str, Schema], number: int) -> dict[str, Schema]:
    """Return the schemas of another version, which refer to that version's row."""

    def moved(value: object) -> object:
        if isinstance(value, dict):
            return {key: moved(one) for key, one in value.items()}
        if isinstance(value, list):
            return [moved(one) for one in value]
        return f"#/components/schemas/RowOf{number}" if value == "#/components/schemas/Row" else value

    return {name: {key: moved(one) for key, one in schema.items()} for name, schema in schemas.items()}


def _media(schema: str, examples: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    told: dict[str, object] = {"schema": ref(schema)}
    if schema in examples:
        told["examples"] = {name: {"value": value} for name, value in examples[schema].items()}
    return told


def _parameter(name: str, values: Sequence[str]) -> dict[str, object]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "enum": list(values)}}
