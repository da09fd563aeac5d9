"""The definition of the Open Inference Protocol's messages becomes their classes, in a descriptor pool of its own.

Carried into the service, and loaded only where gRPC is on: protobuf. No generated code: that of one protoc fits not
every protobuf. The pool is our own, so that whoever loads another definition of the same names in this process, as
tritonclient does, is not disturbed.

Sources: Open Inference Protocol v2, gRPC (https://github.com/kserve/open-inference-protocol,
``specification/protocol/open_inference_grpc.proto``) with Triton's additions (``double_param``, ``uint64_param``,
``RepositoryIndex``); gRPC Health Checking Protocol (``grpc/health/v1/health.proto``).
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

#: An instance of one of the classes, whose attributes are the fields.
Message: TypeAlias = Any
MessageClass: TypeAlias = Any

_INFERENCE = """
message ServerLiveRequest {
}
message ServerLiveResponse {
  bool live = 1;
}
message ServerReadyRequest {
}
message ServerReadyResponse {
  bool ready = 1;
}
message ModelReadyRequest {
  string name = 1;
  string version = 2;
}
message ModelReadyResponse {
  bool ready = 1;
}
message ServerMetadataRequest {
}
message ServerMetadataResponse {
  string name = 1;
  string version = 2;
  repeated string extensions = 3;
}
message ModelMetadataRequest {
  string name = 1;
  string version = 2;
}
message TensorMetadata {
  string name = 1;
  string datatype = 2;
  repeated int64 shape = 3;
}
message ModelMetadataResponse {
  string name = 1;
  repeated string versions = 2;
  string platform = 3;
  repeated TensorMetadata inputs = 4;
  repeated TensorMetadata outputs = 5;
}
message RepositoryIndexRequest {
  string repository_name = 1;
  bool ready = 2;
}
message ModelIndex {
  string name = 1;
  string version = 2;
  string state = 3;
  string reason = 4;
}
message RepositoryIndexResponse {
  repeated ModelIndex models = 1;
}
message InferParameter {
  oneof parameter_choice {
  bool bool_param = 1;
  int64 int64_param = 2;
  string string_param = 3;
  double double_param = 4;
  uint64 uint64_param = 5;
  }
}
message InferTensorContents {
  repeated bool bool_contents = 1;
  repeated int32 int_contents = 2;
  repeated int64 int64_contents = 3;
  repeated uint32 uint_contents = 4;
  repeated uint64 uint64_contents = 5;
  repeated float fp32_contents = 6;
  repeated double fp64_contents = 7;
  repeated bytes bytes_contents = 8;
}
message InferTensor {
  string name = 1;
  string datatype = 2;
  repeated int64 shape = 3;
  map<string, InferParameter> parameters = 4;
  InferTensorContents contents = 5;
}
message InferRequestedOutputTensor {
  string name = 1;
  map<string, InferParameter> parameters = 2;
}
message ModelInferRequest {
  string model_name = 1;
  string model_version = 2;
  string id = 3;
  map<string, InferParameter> parameters = 4;
  repeated InferTensor inputs = 5;
  repeated InferRequestedOutputTensor outputs = 6;
  repeated bytes raw_input_contents = 7;
}
message ModelInferResponse {
  string model_name = 1;
  string model_version = 2;
  string id = 3;
  map<string, InferParameter> parameters = 4;
  repeated InferTensor outputs = 5;
  repeated bytes raw_output_contents = 6;
}
"""
_HEALTH = """
message HealthCheckRequest {
  string service = 1;
}
message HealthCheckResponse {
  int32 status = 1;
}
"""
_LINE = re.compile(
    r"message (?P<message>\w+) \{|oneof (?P<oneof>\w+) \{|(?P<end>\})"
    r"|(?:(?P<repeated>repeated) )?(?:map<string, (?P<map>\w+)>|(?P<kind>\w+)) (?P<name>\w+) = (?P<number>\d+);"
)
_SCALARS = {
    name: getattr(FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64")
}


def _classes(package: str, definition: str) -> dict[str, MessageClass]:
    """Return the classes that a definition describes, by the messages' names."""
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    message, oneof = DescriptorProto(), False
    for line in definition.strip().splitlines():
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise ValueError(line)
        if found["message"]:
            message = file.message_type.add(name=found["message"])
        elif found["oneof"]:
            message.oneof_decl.add(name=found["oneof"])
            oneof = True
        elif found["end"]:
            oneof = False
        else:
            field = _field(message, package, found)
            if oneof:
                field.oneof_index = 0
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {one.name: GetMessageClass(pool.FindMessageTypeByName(f"{package}.{one.name}")) for one in file.message_type}


def _field(message: DescriptorProto, package: str, found: re.Match[str]) -> FieldDescriptorProto:
    """Add a field; a map is a list of entries, each a message (protobuf, "Maps", backwards compatibility)."""
    kind = found["kind"]
    if found["map"]:
        kind = "".join(word.capitalize() for word in found["name"].split("_")) + "Entry"
        entry = message.nested_type.add(name=kind)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_SCALARS["string"], label=FieldDescriptorProto.LABEL_OPTIONAL)
        value = entry.field.add(name="value", number=2, label=FieldDescriptorProto.LABEL_OPTIONAL)
        value.type, value.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{package}.{found['map']}"
        kind = f"{message.name}.{kind}"
    field = message.field.add(name=found["name"], number=int(found["number"]))
    many = bool(found["repeated"] or found["map"])
    field.label = FieldDescriptorProto.LABEL_REPEATED if many else FieldDescriptorProto.LABEL_OPTIONAL
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{package}.{kind}"
    return field


#: Class of each message of the package ``inference``, by its name.
INFERENCE = _classes("inference", _INFERENCE)
#: Class of each message of ``grpc.health.v1``; a status is its number: 1 serves, 2 does not.
HEALTH = _classes("grpc.health.v1", _HEALTH)
