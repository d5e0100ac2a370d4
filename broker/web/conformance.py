"""What the API says of itself, all of it from the table of resources: CapabilityStatement and OpenAPI document.

Source: FHIR R4 (4.0.1) CapabilityStatement; OpenAPI 3.0.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.settings_tables import Issuer
from broker.web.refusing import FHIR_JSON
from broker.web.resources import SORTS, TABLE, Parameter, Resource, parameters_of

Json = dict[str, Any]

DATE = "2026-11-30"
"""When what is served last changed."""

PROFILES = {
    "DocumentReference": "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD.DocumentResponder",
}
_OAUTH = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


def capability(base: str, version: str, issuers: Sequence[Issuer]) -> Json:
    """The CapabilityStatement of this server."""
    security: Json = {
        "cors": False,
        "service": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                        "code": "OAuth",
                    }
                ]
            }
        ],
        "description": "Access tokens (JWT) of: " + ", ".join(one.url for one in issuers),
    }
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": DATE,
        "kind": "instance",
        "software": {"name": "Carnet", "version": version},
        "implementation": {"description": "The patient's record", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "instantiates": sorted(PROFILES.values()),
        "rest": [
            {
                "mode": "server",
                "security": security,
                "resource": [_resource(one) for one in TABLE],
            }
        ],
    }


def _resource(one: Resource) -> Json:
    made: Json = {
        "type": one.name,
        "interaction": [{"code": "read"}, *([{"code": "search-type"}] if one.searched else [])],
        "versioning": "no-version",
        "readHistory": False,
    }
    if one.searched:
        made["searchInclude"] = sorted(f"{one.name}:{name}" for name in one.includes or {})
        made["searchParam"] = [
            {"name": p.name, "type": p.kind, "documentation": p.meaning} for p in parameters_of(one)
        ]
        if not made["searchInclude"]:
            del made["searchInclude"]
    if one.name == "Patient":
        made["operation"] = [
            {
                "name": "everything",
                "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything",
            }
        ]
    return made


# --- OpenAPI -----------------------------------------------------------------------------------------------------


def openapi(base: str, version: str) -> Json:
    """The same as an OpenAPI document: paths below `base`, every parameter, every status."""
    paths: Json = {
        "/metadata": {"get": _operation("What the server can do", "metadata", secured=False)}
    }
    for one in TABLE:
        paths[f"/{one.name}/{{id}}"] = {
            "get": _operation(f"Read: {one.meaning}", f"read{one.name}", [_ID])
        }
        if not one.searched:
            continue
        given = [_parameter(p) for p in parameters_of(one)] + _result_parameters(one)
        paths[f"/{one.name}"] = {
            "get": _operation(f"Search: {one.meaning}", f"search{one.name}", given)
        }
        form = {p["name"]: p["schema"] for p in given}
        paths[f"/{one.name}/_search"] = {
            "post": _operation(
                f"Search without anything in the URL: {one.meaning}", f"post{one.name}", form=form
            )
        }
    paths["/Patient/{id}/$everything"] = {
        "get": _operation("Everything a record holds, for its patient", "everything", [_ID, _COUNT])
    }
    return {
        "openapi": "3.0.3",
        "info": {"title": "Carnet: the record's API (FHIR R4)", "version": version},
        "servers": [{"url": base}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
            "schemas": {
                "Resource": {
                    "type": "object",
                    "required": ["resourceType"],
                    "properties": {"resourceType": {"type": "string"}},
                }
            },
        },
    }


_ID: Json = {
    "name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[A-Za-z0-9.-]{1,64}$"},
}  # fmt: skip
_COUNT: Json = {
    "name": "_count",
    "in": "query",
    "description": "entries of a page, 200 at most",
    "schema": {"type": "integer", "minimum": 1},
}
_STATUSES = {
    "200": "the resource or Bundle",
    "400": "the request is wrong",
    "401": "no token, or one that is not taken",
    "403": "the token does not allow it",
    "404": "hidden or not there",
    "406": "another format was asked for",
    "413": "too long",
    "415": "another content type",
    "503": "come back later",
}


def _parameter(one: Parameter) -> Json:
    return {
        "name": one.name,
        "in": "query",
        "description": f"{one.meaning} ({one.kind})",
        "schema": {"type": "string", "minLength": 1, "maxLength": 500},
    }


def _result_parameters(one: Resource) -> list[Json]:
    if one.name == "Patient":
        return [_COUNT]
    sort: Json = {
        "name": "_sort", "in": "query", "description": "newest or oldest document first",
        "schema": {"type": "string", "enum": list(SORTS)},
    }  # fmt: skip
    include: Json = {
        "name": "_include",
        "in": "query",
        "description": "what comes along",
        "schema": {
            "type": "string",
            "enum": sorted(f"{one.name}:{name}" for name in one.includes or {}),
        },
    }
    return [_COUNT, sort, *([include] if one.includes else [])]


def _operation(
    summary: str,
    name: str,
    parameters: Sequence[Json] = (),
    *,
    form: Json | None = None,
    secured: bool = True,
) -> Json:
    content = {FHIR_JSON: {"schema": {"$ref": "#/components/schemas/Resource"}}}
    if name == "readBinary":
        content = {**content, "*/*": {"schema": {"type": "string", "format": "binary"}}}
    made: Json = {
        "summary": summary,
        "operationId": name,
        "responses": {
            status: {"description": text, "content": content} for status, text in _STATUSES.items()
        },
    }
    if parameters:
        made["parameters"] = list(parameters)
    if not secured:
        made["security"] = []
    if form is not None:
        made["requestBody"] = {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {"type": "object", "properties": form, "additionalProperties": False}
                }
            },
        }
    return made
