"""The API's description, OpenAPI 3.1: served at ``/openapi.json`` and held against the running server by the tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from server.cutout import GLASS, MODES
from server.dialects import fields, removebg
from server.dialects.canvas import LENGTH
from server.dialects.ours import OUTPUTS

Schema = dict[str, Any]

PICTURE: Schema = {"type": "string", "format": "binary", "description": "A JPEG, PNG, WebP or HEIC file"}
URL: Schema = {
    "type": "string",
    "pattern": "^(|https?://.+)$",
    "description": "Public http or https address of a picture, up to 50 MB",
}
BASE64: Schema = {
    "type": "string",
    "format": "byte",
    "contentEncoding": "base64",
    "description": "The picture's bytes as base64",
}
FLAG: Schema = {"type": "string", "enum": [*sorted(fields.YES), *sorted(fields.NO), ""], "default": "false"}
MODEL: Schema = {"type": "string", "description": "A name that 'python -m server models' lists; default: the server's"}
BYTE = "([1-9]?[0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
NUMBER = r"[+-]?(\d{1,5}(\.\d{1,3})?)"
TAP: Schema = {
    "type": "string",
    "pattern": rf"^(|{NUMBER},{NUMBER})$",
    "description": "x,y in pixels of the upright picture, centres at integers: the object under it or nearest to it",
}
COLOR: Schema = {"type": "string", "description": "Hexadecimal (81d4fa, fff, 81d4fa80) or a name (white)"}
PNG: Schema = {"image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}}}


def document(version: str) -> Schema:
    """The whole description as JSON-ready objects."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AR copy & paste: segmentation server",
            "version": version,
            "description": "Cuts objects out of photographs, in the dialects of the clients that people have.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{}, {"key": []}, {"bearer": []}, {"secret": []}],
        "paths": {
            "/v1/cut": {"post": _ours()},
            "/v1.0/removebg": {"post": _removebg()},
            "/v1.0/account": {"get": _account()},
            "/api/remove": {"get": _rembg_by_url(), "post": _rembg_by_file()},
            "/remove": {"post": _objectcut()},
            "/results/{name}": {"get": _result()},
            "/": {"get": _index(), "post": _basnet()},
            "/v2/health/live": {"get": _health("live", "The process answers.", ["status", "version"], [])},
            "/v2/health/ready": {"get": _health("ready", "A photo would be cut.", ["status", "model"], ["400", "503"])},
            "/metrics": {
                "get": _operation("metrics", "Figures for Prometheus", {"text/plain": {"schema": _text()}}, {})
            },
            "/openapi.json": {
                "get": _operation("openapi", "This description", _json({"type": "object", "required": ["openapi"]}), {})
            },
        },
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "secret": {"type": "apiKey", "in": "header", "name": "X-Secret-Access"},
            },
            "schemas": {
                "Errors": _object(
                    {
                        "errors": {
                            "type": "array",
                            "minItems": 1,
                            "items": _object({"title": _text(), "code": _text(), "detail": _text()}),
                        }
                    }
                ),
                "Detail": _object({"detail": {"type": ["string", "array"]}}),
                "ObjectCutError": _object(
                    {
                        "correlation_id": _text(),
                        "error": {"const": True},
                        "error_id": {"enum": ["001", "002", "003"]},
                        "message": _text(),
                    }
                ),
                "BasnetError": _object({"error": _text()}),
            },
        },
    }


def _ours() -> Schema:
    form = _form(
        {
            "image": PICTURE,
            "tap": TAP,
            "model": MODEL,
            "mode": {**_choice("object", MODES), "description": "An object, ink without paper, a sheet"},
            "refine": {**FLAG, "description": "More time for the boundary"},
            "matting": {**FLAG, "description": "Opacity of hair, fur and the like"},
            "glass": {**_choice("auto", GLASS), "description": "Keep glass transparent"},
            "post_process": {**FLAG, "description": "Sharpen and smooth the map"},
            "crop": FLAG,
            "output": {**_choice("cutout", OUTPUTS), "description": "RGBA, or the mask as 8-bit grey"},
        },
        ["image"],
    )
    errors = _errors("Errors", "400", "401", "413", "415", "422", "429", "500", "503")
    operation = _operation("cut", "Cut an object out of a photo", PNG, errors, form)
    operation["responses"]["200"]["headers"] = {
        "X-Cutout": {
            "description": "box, image_size, coverage, score, model, timings_ms",
            "content": _json({"type": "object"}),
        }
    }
    return operation


def _removebg() -> Schema:
    choices: dict[str, tuple[str, Iterable[str]]] = {
        "size": ("preview", removebg.MEGAPIXELS),
        "type": ("auto", (*removebg.KINDS, "other")),
        "type_level": ("1", removebg.KIND_LEVELS),
        "format": ("auto", removebg.FORMATS),
        "channels": ("rgba", ("rgba", "alpha")),
    }
    length = LENGTH.pattern.replace("?:", "")
    properties: Schema = {
        "image_file": PICTURE,
        "image_file_b64": BASE64,
        "image_url": URL,
        **{name: _choice(default, allowed) for name, (default, allowed) in choices.items()},
        "roi": {"type": "string", "pattern": rf"^(|({length})( ({length})){{3}})$", "default": "0% 0% 100% 100%"},
        "crop": FLAG,
        "crop_margin": {
            "type": "string",
            "pattern": rf"^(|({length})(( ({length})){{3}}|( ({length})))?)$",
            "default": "0",
        },
        "scale": {"type": "string", "pattern": r"^(|original|([1-9][0-9]|100)%)$", "default": "original"},
        "position": {"type": "string", "pattern": r"^(|original|center|([1-9]?[0-9]|100)%( ([1-9]?[0-9]|100)%)?)$"},
        "semitransparency": {**FLAG, "default": "true"},
        "bg_color": COLOR,
        "bg_image_url": URL,
        "bg_image_file": PICTURE,
    }
    as_json = {name: schema for name, schema in properties.items() if not name.endswith("_file")}
    form = _form(properties, [], "Exactly one of image_file, image_file_b64 and image_url.")
    form["content"]["multipart/form-data"]["schema"] |= _one_of("image_file", "image_file_b64", "image_url")
    schema = {"type": "object", "properties": as_json, **_one_of("image_file_b64", "image_url")}
    form["content"]["application/x-www-form-urlencoded"] = {"schema": schema}
    booleans = {name: {"anyOf": [{"type": "boolean"}, as_json[name]]} for name in ("crop", "semitransparency")}
    form["content"]["application/json"] = {"schema": {**schema, "properties": {**as_json, **booleans}}}
    picture = {
        media: {"schema": {"type": "string", "contentMediaType": media}}
        for media in ("image/png", "image/jpeg", "image/webp", "application/zip")
    }
    number = {"type": "integer"}
    found = _object(
        {"result_b64": _text(), **{f"foreground_{side}": number for side in ("top", "left", "width", "height")}}
    )
    errors = _errors("Errors", "400", "403", "413", "415", "429", "500", "503")
    operation = _operation(
        "removebg", "remove.bg's dialect", {**picture, **_json(_object({"data": found}))}, errors, form
    )
    names = [
        "X-Credits-Charged",
        "X-Width",
        "X-Height",
        *(f"X-Foreground-{s}" for s in ("Top", "Left", "Width", "Height")),
    ]
    operation["responses"]["200"]["headers"] = {name: {"schema": {"type": "integer"}} for name in names}
    operation["responses"]["200"]["headers"]["X-Type"] = {"schema": _text()}
    return operation


def _account() -> Schema:
    body = _json(_object({"data": {"type": "object"}}))
    return _operation("account", "remove.bg's balance: no credits are counted", body, _errors("Errors", "403", "429"))


def _rembg_options() -> Schema:
    return {
        "model": MODEL,
        "a": {**FLAG, "description": "Alpha matting"},
        "af": {"type": "integer", "minimum": 0, "maximum": 255, "default": 240},
        "ab": {"type": "integer", "minimum": 0, "maximum": 255, "default": 10},
        "ae": {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 10},
        "om": {**FLAG, "description": "Only the mask, 8-bit grey"},
        "ppm": {**FLAG, "description": "A hard mask with a smooth outline"},
        "bgc": {
            "type": "string",
            "pattern": rf"^(|{BYTE}(,{BYTE}){{2,3}})$",
        },
    }


def _rembg_by_url() -> Schema:
    errors = _errors("Detail", "400", "401", "413", "422", "429", "500", "503")
    operation = _operation("rembg_by_url", "rembg's dialect, picture by address", PNG, errors)
    operation["parameters"] = [{"name": "url", "in": "query", "required": True, "schema": URL}]
    operation["parameters"] += [{"name": n, "in": "query", "schema": schema} for n, schema in _rembg_options().items()]
    return operation


def _rembg_by_file() -> Schema:
    errors = _errors("Detail", "400", "401", "413", "415", "422", "429", "500", "503")
    form = _form({"file": PICTURE, **_rembg_options()}, ["file"])
    return _operation("rembg_by_file", "rembg's dialect, picture as a file", PNG, errors, form)


def _objectcut() -> Schema:
    properties = {
        "image_url": URL,
        "image_base64": BASE64,
        "output_format": _choice("url", ("url", "base64")),
        "to_remove": _choice("background", ("background", "foreground")),
        "color_removal": _choice("transparent", ("transparent", "white")),
    }
    form: Schema = {"description": "Exactly one of image_url and image_base64.", "required": True}
    schema = {"type": "object", "properties": properties, **_one_of("image_url", "image_base64")}
    form["content"] = {
        kind: {"schema": schema} for kind in ("application/x-www-form-urlencoded", "multipart/form-data")
    }
    found = {"type": "object", "properties": {"image_url": _text(), "image_base64": _text()}, "minProperties": 1}
    body = _json(_object({"correlation_id": _text(), "error": {"const": False}, "response": found}))
    errors = _errors("ObjectCutError", "400", "401", "413", "415", "422", "429", "500", "503")
    return _operation("objectcut", "OBJECT CUT's dialect", body, errors, form)


def _result() -> Schema:
    operation = _operation("result", "A stored result as long as it lives", PNG, _errors("ObjectCutError", "404"))
    operation["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": _text()}]
    return operation


def _index() -> Schema:
    content = {"text/html": {"schema": _text()}, "text/plain": {"schema": _text()}}
    return _operation("page", "A page to try it; plain text for clients that do not ask for HTML", content, {})


def _basnet() -> Schema:
    errors = _errors("BasnetError", "400", "401", "413", "415", "422", "429", "500", "503")
    return _operation(
        "basnet",
        "basnet-http's dialect: a mask in the stored orientation",
        PNG,
        errors,
        _form({"data": PICTURE}, ["data"]),
    )


def _health(name: str, summary: str, keys: list[str], errors: list[str]) -> Schema:
    return _operation(name, summary, _json(_object({key: _text() for key in keys})), _errors("Errors", *errors))


def _operation(name: str, summary: str, content: Schema, errors: Schema, form: Schema | None = None) -> Schema:
    operation: Schema = {"operationId": name, "summary": summary}
    if form is not None:
        operation["requestBody"] = form
    operation["responses"] = {"200": {"description": "Done", "content": content}, **errors}
    return operation


def _errors(form: str, *statuses: str) -> Schema:
    content = _json({"$ref": f"#/components/schemas/{form}"})
    names = {
        "400": "The picture or an option cannot be used",
        "401": "A key is needed",
        "403": "A key is needed",
        "404": "Nothing there",
        "413": "Too large",
        "415": "Another kind of body is needed",
        "422": "No object, or a wrong parameter",
        "429": "Too many requests",
        "500": "A fault of the server",
        "503": "Busy, or the model is not there: Retry-After says when to try again",
    }
    return {status: {"description": names[status], "content": content} for status in statuses}


def _form(properties: Schema, required: list[str], description: str = "") -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    encoding = {name: {"contentType": "image/jpeg"} for name, kind in properties.items() if kind is PICTURE}
    media: Schema = {"schema": schema, "encoding": encoding} if encoding else {"schema": schema}
    form: Schema = {"required": True, "content": {"multipart/form-data": media}}
    return {**form, "description": description} if description else form


def _choice(default: str, allowed: Iterable[str]) -> Schema:
    """An empty field counts as a missing one."""
    return {"enum": [*allowed, ""], "default": default}


def _one_of(*names: str) -> Schema:
    """Exactly one of these fields is there and not empty."""
    return {"oneOf": [{"required": [name], "properties": {name: {"minLength": 1}}} for name in names]}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _text() -> Schema:
    return {"type": "string"}
