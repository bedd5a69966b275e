"""Gives Litestar the schemas of msgspec Structs, in the form that generators of typed clients understand best."""

import json
from collections.abc import Iterator
from typing import Any, Final, get_args

import msgspec
from litestar.openapi.spec import Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition
from msgspec import Struct

REF: Final = "#/components/schemas/{name}"


class StructSchemas(OpenAPISchemaPlugin):
    """Every Struct is a component, with its docstring, its `Meta` and `forbid_unknown_fields`."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        return not field_definition.is_union and field_definition.is_subclass_of(Struct)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        struct = field_definition.annotation
        schema: Schema = schema_creator.schema_registry.get_schema_for_field_definition(field_definition)
        written = component(struct)
        # Litestar makes a component of what has a title.
        schema.title = struct.__name__
        schema.type = written["type"]
        schema.description = written.get("description")
        schema.required = written.get("required")
        schema.properties = written["properties"]
        schema.additional_properties = written.get("additionalProperties")
        for inner in _structs_within(struct):
            schema_creator.for_field_definition(FieldDefinition.from_annotation(inner))
        return schema


def component(struct: type[Struct]) -> dict[str, Any]:
    """The schema of a Struct, as the description shows it."""
    (reference,), components = msgspec.json.schema_components([struct], ref_template=REF)
    schema: dict[str, Any] = _plain(components[reference["$ref"].rpartition("/")[2]])
    del schema["title"]
    if "additionalProperties" in schema:
        for property_ in schema["properties"].values():
            _say_default(property_)
    return schema


def _structs_within(struct: type[Struct]) -> Iterator[type[Struct]]:
    unseen: list[Any] = [field.type for field in msgspec.structs.fields(struct)]
    while unseen:
        annotation = unseen.pop()
        if isinstance(annotation, type) and issubclass(annotation, Struct):
            yield annotation
        unseen += get_args(annotation)


def _plain(schema: Any) -> Any:
    """The same schema without what confuses generators: unions of a type and null, unions beside a discriminator."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    shown: dict[str, Any] = {key: _plain(value) for key, value in schema.items() if value != []}
    if "enum" in shown:
        words = shown.pop("enum")
        shown = {"type": "string"} | ({"enum": words} if len(words) > 1 else {"const": words[0]}) | shown
    union = shown.pop("anyOf", None)
    if union is None:
        return shown
    others = [one for one in union if one != {"type": "null"}]
    if len(others) < len(union) and len(others) == 1 and "type" in others[0]:
        nullable = others[0] | {"type": [others[0]["type"], "null"]}
        if "enum" in nullable:
            nullable["enum"] = [*nullable["enum"], None]
        return shown | nullable
    return shown | {"oneOf": union}


def _say_default(schema: dict[str, Any]) -> None:
    """Say a default in words: generators take a property that has `default` for one that is always there."""
    default = schema.pop("default", None)
    if default is not None:
        said = schema.get("description", "")
        schema["description"] = f"{said} `{json.dumps(default)}` if absent.".strip()
