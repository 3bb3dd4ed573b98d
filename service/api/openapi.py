"""JSON schemas for parts of the OpenAPI document that FastAPI does not write itself."""

from typing import Any

from pydantic import TypeAdapter


def inline_schema(type_: Any) -> dict[str, Any]:
    """The JSON schema of a type without references, which would lead nowhere in the OpenAPI document."""
    schema = TypeAdapter(type_).json_schema()
    definitions = schema.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(item) for item in part]
        if not isinstance(part, dict):
            return part
        name = part.get("$ref", "").removeprefix("#/$defs/")
        rest = {key: resolved(value) for key, value in part.items() if key != "$ref"}
        return resolved(definitions[name]) | rest if name else rest

    result: dict[str, Any] = resolved(schema)
    return result
