"""Bodies that hold a picture: JSON with base64, or a form with a file."""

from typing import Any, TypeVar

from fastapi import HTTPException, Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException as NotServed
from starlette.formparsers import MultiPartException

from . import wire
from .errors import RefusedError
from .pictures import from_base64

Schema = TypeVar("Schema", wire.SearchRequest, wire.DetectRequest, wire.SegmentRequest)
_MOST_FIELDS = 256  # of a form; a list has one for each of its values


async def read_body(schema: type[Schema], request: Request) -> tuple[Schema, bytes | None]:
    """Read a request and its picture, from JSON or from a form.

    Raises:
        RefusedError: 415 if it is neither, 400 or 422 if it cannot be read.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        query = _validated(schema, await request.body())
        return query, None if query.image is None else from_base64(query.image, "image")
    if kind == "multipart/form-data":
        return await _form(schema, request)
    raise RefusedError(415, f"Send application/json or multipart/form-data, not {kind or 'nothing said'}.")


def either_body(schema: type[Schema]) -> dict[str, Any]:
    """Return such a body for the OpenAPI document: JSON, or a form with a picture."""
    fields = schema.model_json_schema()
    form = {**fields, "properties": {**fields["properties"], "image": {"type": "string", "format": "binary"}}}
    content = {"application/json": {"schema": fields}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


def complaint(errors: Any) -> str:
    """Return the first mistake that a schema found: where, and what is wrong."""
    where = ".".join(str(step) for step in errors[0]["loc"] if step != "body")
    return f"{where}: {errors[0]['msg']}" if where else str(errors[0]["msg"])


def _validated(schema: type[Schema], content: bytes | dict[str, Any]) -> Schema:
    try:
        if isinstance(content, bytes):
            return schema.model_validate_json(content)
        return schema.model_validate(content)
    except ValidationError as error:
        raise RefusedError(422, complaint(error.errors())) from error


async def _form(schema: type[Schema], request: Request) -> tuple[Schema, bytes | None]:
    try:
        async with request.form(max_files=1, max_fields=_MOST_FIELDS) as form:
            fields = _fields(form)
            file = form.get("image")
            image = await file.read() if isinstance(file, UploadFile) else None
    except (MultiPartException, HTTPException, NotServed) as error:
        raise RefusedError(400, f"The form cannot be read: {getattr(error, 'detail', error)}.") from error
    return _validated(schema, fields), image


def _fields(form: FormData) -> dict[str, str | list[str]]:
    """Return the texts of a form: those of a name that comes several times as a list."""
    fields: dict[str, str | list[str]] = {}
    for name in form:
        texts = [value for value in form.getlist(name) if isinstance(value, str) and value]
        if texts:
            fields[name] = texts if len(texts) > 1 else texts[0]
    return fields
