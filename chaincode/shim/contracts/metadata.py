"""The description of a chaincode that `org.hyperledger.fabric:GetMetadata` returns, as JSON.

Its form is that of Fabric's contract APIs for other languages: contracts, their transactions with parameters and
results as JSON schemas, and the schemas that these refer to under `components`. Schemas keep to the words of JSON
Schema draft 4, which that form is defined in. Transient parameters are left out: a call's arguments are not where they
belong.

Only objects are components: Go's tools know no others, so enumerations and the like stand where they are used. Within a
component another one is referred to by its bare name, which is resolved against the component's `$id`.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from goldengrain.chaincode.shim.contracts.declaring import Kind
from goldengrain.chaincode.shim.contracts.signatures import Parameter
from goldengrain.chaincode.shim.contracts.values import schema_of, to_json
from goldengrain.chaincode.shim.errors import DeclarationError, InvalidArgument
from goldengrain.chaincode.shim.responses import Response

if TYPE_CHECKING:
    from goldengrain.chaincode.shim.contracts.chaincode import Contract, Function

SCHEMA = "https://hyperledger.github.io/fabric-chaincode-node/main/api/contract-schema.json"
COMPONENTS = "#/components/schemas/"
UNVERSIONED = "0.0.0"


def document(contracts: "Iterable[Contract]", title: str, version: str) -> bytes:
    """Describe contracts, the default one first. Raises DeclarationError for a result that has no schema."""
    members = list(contracts)
    first = members[0]
    components: dict[str, Any] = {}
    described = {
        member.name: {
            "name": member.name,
            "default": member is first,
            "info": _info(member, "", ""),
            "transactions": [_transaction(function, components) for function in member.functions.values()],
        }
        for member in members
    }
    return to_json(
        {
            "$schema": SCHEMA,
            "info": _info(first, title, version),
            "contracts": described,
            "components": {
                "schemas": {
                    name: {"$id": name, "properties": {}, **_draft4(schema, components, "")}
                    for name, schema in components.items()
                    if _is_object(schema)
                }
            },
        }
    )


def _info(member: "Contract", title: str, version: str) -> dict[str, Any]:
    declared = member.declared
    info: dict[str, Any] = {
        "title": title or declared.title or member.name,
        "version": version or declared.version or UNVERSIONED,
    }
    if member.description:
        info["description"] = member.description
    if declared.license:
        info["license"] = {"name": declared.license}
    if declared.contact:
        info["contact"] = declared.contact
    return info


def _transaction(function: "Function", components: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": function.name,
        "tag": ["submit", "SUBMIT"] if function.kind is Kind.TRANSACTION else ["evaluate", "EVALUATE"],
        "parameters": [_parameter(one, components) for one in function.signature.parameters],
    }
    if function.signature.returns not in (None, Response):
        try:
            found["returns"] = _schema(function.signature.returns, components)
        except DeclarationError as error:
            raise DeclarationError(f"{function.name}: its result: {error}") from error
    return found


def _parameter(parameter: Parameter, components: dict[str, Any]) -> dict[str, Any]:
    schema = _schema(parameter.kind, components)
    if not parameter.required and "$ref" not in schema:
        try:
            to_json(parameter.default)
        except InvalidArgument as error:
            raise DeclarationError(f"parameter {parameter.name}: its default: {error}") from error
        if parameter.default is not None:
            schema["default"] = parameter.default
    return {"name": parameter.name, "required": parameter.required, "schema": schema}


def _schema(kind: Any, components: dict[str, Any]) -> dict[str, Any]:
    schema, found = schema_of(kind)
    components.update(found)
    plain: dict[str, Any] = _draft4(schema, components, COMPONENTS)
    return plain


def _draft4(schema: Any, components: Mapping[str, Any], place: str) -> Any:
    """Say in draft 4's words what newer drafts have words of their own for; what it has none for is left open.

    `place` is what stands before the name in a reference to one of the components.
    """
    if isinstance(schema, list):
        return [_draft4(one, components, place) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _reference(schema, components, place)
    found = {key: value for key, value in schema.items() if key not in _NEWER}
    for key in ("items", "additionalProperties"):
        if key in found:
            found[key] = _draft4(found[key], components, place)
    if "properties" in found:
        found["properties"] = {name: _draft4(one, components, place) for name, one in found["properties"].items()}
    _include_bounds(found)
    if schema.get("contentEncoding") == "base64":
        found["format"] = "byte"
    if "const" in schema:
        found["enum"] = [schema["const"]]
    if "prefixItems" in schema:
        found["items"] = _draft4(schema["prefixItems"], components, place)
    if "anyOf" in schema:
        found |= _one_of(schema["anyOf"], components, place)
    return found


def _include_bounds(schema: dict[str, Any]) -> None:
    """Exclusive bounds are a flag in draft 4, a number for Go: an inclusive one is the same to both."""
    for key, bound, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
        if key in schema:
            schema[bound] = schema.pop(key) + (step if schema.get("type") == "integer" else 0)


def _reference(schema: dict[str, Any], components: Mapping[str, Any], place: str) -> dict[str, Any]:
    name = schema["$ref"].rpartition("/")[2]
    default = {key: value for key, value in schema.items() if key == "default"}
    if _is_object(components[name]):
        return {"$ref": place + name, **default}
    return {**_draft4(components[name], components, place), **default}


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object"


def _one_of(choices: list[dict[str, Any]], components: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Say "or null" as nothing at all, and any other choice as its types, where it is one of types alone."""
    kinds = [choice for choice in choices if choice.get("type") != "null"]
    if len(kinds) == 1:
        return dict(_draft4(kinds[0], components, place))
    types = sorted({kind["type"] for kind in kinds if "type" in kind})
    return {"type": types} if len(types) == len(kinds) else {}


_NEWER = {"anyOf", "const", "contentEncoding", "prefixItems", "discriminator", "examples"}
