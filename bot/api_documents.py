"""Documents and search over HTTP.

It reads uploads, not files: what a file says is `retrieval`'s to find out.
"""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from bot import api_views
from bot.api_parts import Admin, AnyCaller, Name, Parts, Text, WithPage, WithParts, listing
from store import audit, documents, staleness
from store.errors import Invalid, NotFound, RatchetError
from store.models import Document

MAX_RESULTS = 50
router = APIRouter(prefix="/v1")


class TextDocument(BaseModel):
    """A text to answer from; the same title again replaces it."""

    title: Text = Field(min_length=1, max_length=500)
    text: Text = Field(min_length=1)


class SearchFilter(BaseModel):
    """Where to look: in documents that fit everything given; `document` is an id or a source."""

    model_config = ConfigDict(extra="forbid")

    document: Text | None = Field(None, max_length=500)
    tag: Text | None = Field(None, max_length=100)
    collection: Text | None = Field(None, max_length=100)


class SearchRequest(BaseModel):
    """What to look for."""

    query: Text = Field(max_length=20_000)
    k: int = Field(5, ge=1, le=MAX_RESULTS)
    filter: SearchFilter | None = None


class Labels(BaseModel):
    """A document's collection and tags, in place of those it has."""

    collection: Name = ""
    tags: list[Name] = Field(default_factory=list, max_length=50)


@router.post("/documents")
async def add_document(request: Request, caller: Admin, parts: WithParts) -> Response:
    """Keep a file (multipart, field `file`) or `{"title", "text"}`; 201 when new, 200 when it was there already."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        name, content = await _upload(request)
        document, created = await run_in_threadpool(parts.library.add_file, name=name, content=content)
    elif kind == "application/json":
        body = _text_document(await request.body())
        source = f"text: {body.title}"
        document, created = await run_in_threadpool(
            parts.library.add_text, source=source, title=body.title, text=body.text
        )
    else:
        raise Invalid(f'the body is of type "{kind}".', "Send multipart/form-data with a file, or JSON.")
    if created:
        await run_in_threadpool(_record, parts, caller.person.id, "document.added", document.id)
    flags = await run_in_threadpool(_flags, parts, document.id)
    view = {**api_views.document(document), "created": created, "flags": flags}
    return JSONResponse(view, 201 if created else 200)


async def _upload(request: Request) -> tuple[str, bytes]:
    async with request.form(max_files=1, max_fields=10) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Invalid("the form has no file.", "Send it in the field named file.")
        name = (file.filename or "").replace("\\", "/").rsplit("/", 1)[-1].replace("\0", "")[:200]
        if name.strip(". ") == "":
            raise Invalid("the file has no name.", "Its ending says what kind of file it is.")
        return name, await file.read()


def _text_document(body: bytes) -> TextDocument:
    try:
        return TextDocument.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise RatchetError(f"the body is not JSON: {first['msg']}.", "Send title and text.") from error
        field = ".".join(str(part) for part in first["loc"]) or "the body"
        raise Invalid(f"{field}: {first['msg']}.", "Send title and text.") from error


def _flags(parts: Parts, document_id: str) -> list[str]:
    with parts.database.read() as session:
        return documents.flags_of(session, document_id)


def _record(parts: Parts, actor: str, action: str, document_id: str) -> None:
    with parts.database.write() as session:
        audit.record(session, actor=actor, action=action, subject=document_id)


@router.get("/documents")
def list_documents(_caller: AnyCaller, parts: WithParts, page: WithPage) -> dict[str, Any]:
    """The documents that answers come from."""
    with parts.database.read() as session:
        rows = documents.present(session, limit=page.limit + 1, after=page.cursor)
    return listing(rows, page, lambda row: api_views.document(*row))


@router.get("/documents/{document_id}")
def show_document(document_id: str, _caller: AnyCaller, parts: WithParts) -> dict[str, Any]:
    """One document with its text, so that a passage can be shown in place."""
    with parts.database.read() as session:
        row = session.get(Document, document_id)
    if row is None or row.removed_at is not None:
        raise NotFound(f"no document {document_id}.", "GET /v1/documents lists them.")
    return {**api_views.document(row), "text": row.text, "flags": _flags(parts, document_id)}


@router.get("/documents/{document_id}/resting")
def what_rests(document_id: str, _caller: Admin, parts: WithParts, page: WithPage) -> dict[str, Any]:
    """What rests on a document, present or removed: counts, adapters, and its exchanges by id, page by page."""
    with parts.database.read() as session:
        found = staleness.resting_on(session, document_id)
    after = [one for one in found.exchanges if page.cursor is None or one.id > page.cursor]
    return {**api_views.resting(found), **listing(after, page, asdict)}


@router.put("/documents/{document_id}/labels")
def label_document(document_id: str, body: Labels, caller: Admin, parts: WithParts) -> dict[str, Any]:
    """Put a document into a collection and give it tags, by which searches can be narrowed."""
    labelled = documents.label(parts.database, document_id, collection=body.collection, tags=body.tags)
    _record(parts, caller.person.id, "document.labelled", document_id)
    return api_views.document(labelled)


@router.delete("/documents/{document_id}")
def remove_document(document_id: str, caller: Admin, parts: WithParts) -> dict[str, Any]:
    """Take a document out of what answers come from."""
    parts.library.remove(document_id)
    _record(parts, caller.person.id, "document.removed", document_id)
    return {"id": document_id, "removed": True}


@router.post("/search")
def search(body: SearchRequest, _caller: AnyCaller, parts: WithParts, page: WithPage) -> dict[str, Any]:
    """The passages that fit a query, best first; the cursor is how many were seen."""
    if not body.query.strip():
        raise Invalid("the query is empty.", "Write what to look for.")
    if page.cursor is not None and not page.cursor.isdecimal():
        raise Invalid(f'the cursor is "{page.cursor}".', "Use the `next` of the page before.")
    start = int(page.cursor or 0)
    chosen = documents.Filter(**body.filter.model_dump()) if body.filter is not None else None
    found = parts.library.search(body.query, body.k, chosen)
    end = start + page.limit
    return {"data": found[start:end], "next": str(end) if end < len(found) else None}
