"""The objects of the Open Inference Protocol, as its OpenAPI document describes them, with the same names.

Source: open_inference_rest.yaml, version 2.0, of https://github.com/kserve/open-inference-protocol.
"""

from typing import Any

import jsonschema_rs

_TEXT = {"type": "string"}
_SHAPE = {"type": "array", "items": {"type": "integer"}}
_PARAMETERS = {"type": "object"}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}


_ERROR = _object("error", error=_TEXT)
_TENSOR = {"name": _TEXT, "shape": _SHAPE, "datatype": _TEXT}
_DATA = {"parameters": _PARAMETERS, "data": {"$ref": "#/$defs/tensor_data"}}
_VALUE = [{"$ref": "#/$defs/tensor_data"}, {"type": "number"}, {"type": "string"}, {"type": "boolean"}]

_SCHEMAS = {
    "metadata_server_response": _object(
        "name version extensions", name=_TEXT, version=_TEXT, extensions={"type": "array", "items": _TEXT}
    ),
    "metadata_model_response": _object(
        "name platform",
        name=_TEXT,
        versions={"type": "array", "items": _TEXT},
        platform=_TEXT,
        inputs=_list("metadata_tensor"),
        outputs=_list("metadata_tensor"),
    ),
    "metadata_model_error_response": _ERROR,
    "metadata_tensor": _object("name datatype shape", **_TENSOR),
    "inference_request": _object(
        "inputs",
        id=_TEXT,
        parameters=_PARAMETERS,
        inputs=_list("request_input"),
        outputs=_list("request_output"),
    ),
    "request_input": _object("name shape datatype data", **_TENSOR, **_DATA),
    "request_output": _object("name", name=_TEXT, parameters=_PARAMETERS),
    "tensor_data": {"type": "array", "items": {"anyOf": _VALUE}},
    "inference_response": _object(
        "model_name outputs",
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=_PARAMETERS,
        outputs=_list("response_output"),
    ),
    "response_output": _object("name shape datatype data", **_TENSOR, **_DATA),
    "inference_error_response": _ERROR,
}


def expect(name: str, document: Any) -> None:
    """Expect that a document is one of the protocol's objects."""
    validator = jsonschema_rs.validator_for({"$ref": f"#/$defs/{name}", "$defs": _SCHEMAS})
    errors = [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(document)]
    assert errors == []
