"""The service over one index: REST for programs, a page for people. Handlers read, call, answer."""

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from PIL import Image
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException as NotServed
from starlette.staticfiles import StaticFiles

from . import wire
from .bodies import complaint, either_body, read_body
from .errors import RefusedError, body
from .guard import Guard
from .locating import locating
from .metrics import Measured
from .pictures import from_base64
from .service import EncoderProtocol, Explain, Search, SearcherProtocol, Service, Similar, unknown
from .settings import Settings

if TYPE_CHECKING:
    from ..search.query import Query as Question

PAGE = Path(__file__).parent / "page"
logger = logging.getLogger(__name__)
_REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": wire.Error}}
_CACHED = {"cache-control": "private, max-age=3600"}


def create_app(searcher: SearcherProtocol, encoder: EncoderProtocol, settings: Settings | None = None) -> FastAPI:
    """Build the service over one searcher. It is an argument, so that tests bring their own.

    Args:
        searcher: Finds pictures.
        encoder: Embeds texts and pictures, for `/v1/embeddings` and `/rank`. For `/detect` and `/segment` it is a
            `foveal.Encoder`.
        settings: Limits, batching, key. None: as they come.
    """
    service = Service(searcher, encoder, settings or Settings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.batcher.stop, service.limits.answer_seconds)

    app = FastAPI(
        title="foveal",
        description="Find pictures by fine detail.",
        docs_url=None,  # its page loads scripts from elsewhere; ours is at /docs
        redoc_url=None,
        lifespan=lifespan,
        responses=_REFUSALS,
    )
    app.state.service = service
    app.include_router(_finding(service))
    app.include_router(_comparing(service))
    app.include_router(locating(service))
    app.include_router(_watching(service))
    _add_page(app)
    _add_refusals(app)
    app.add_middleware(Guard, settings=service.settings)
    app.add_middleware(Measured, metrics=service.metrics)
    return app


def _finding(service: Service) -> APIRouter:
    """Return the endpoints over the index."""
    router = APIRouter(tags=["find"])

    @router.post("/search", openapi_extra=either_body(wire.SearchRequest))
    async def search(request: Request) -> wire.Hits:
        """Find pictures for a text, a picture, a box in a picture, or text and picture together."""
        start = time.perf_counter()
        query, image = await read_body(wire.SearchRequest, request)
        question = await _question(service, query, image)
        hits = (await service.compute(Search(service.searcher, query.where), [question]))[0]
        return _hits(hits, start)

    @router.post("/similar")
    async def similar(request: wire.SimilarRequest) -> wire.Hits:
        """Find pictures like one of the index, or like another."""
        start = time.perf_counter()
        if (request.id is None) == (request.image is None):
            raise RefusedError(400, "Give either id or image.")
        work = Similar(service.searcher, service.bounded(request.k))
        if request.image is not None:
            hits = (await service.compute(work, [await service.decode(from_base64(request.image, "image"))]))[0]
        else:
            await service.thumbnail(str(request.id))  # 404 if there is none
            hits = (await service.compute(work, [request.id], unknown(str(request.id))))[0]
        return _hits(hits, start)

    @router.post("/explain")
    async def explain(request: wire.ExplainRequest) -> wire.Explanations:
        """Return where phrases are in a picture of the index: the best box and a heat map for each."""
        service.check_count(len(request.phrases), "phrases")
        service.check_texts(request.phrases)
        await service.thumbnail(request.id)  # 404 if there is none
        broken = RefusedError(404, f"The original of picture '{request.id}' cannot be read any more.")
        results = (await service.compute(Explain(service.searcher), [(request.id, tuple(request.phrases))], broken))[0]
        return wire.Explanations(id=request.id, explanations=[_explanation(result) for result in results])

    @router.get("/pictures/{picture_id}", response_class=Response)
    async def picture(picture_id: wire.Id, side: Annotated[int | None, Query(ge=16, le=4096)] = None) -> Response:
        """Return the original of a picture. With `side`, a JPEG of it, upright, with no side longer than that."""
        original, kind = await service.original(picture_id, side)
        if isinstance(original, Path):
            return FileResponse(original, media_type=kind, headers=_CACHED)  # in pieces, as the client reads
        return Response(original, media_type=kind, headers=_CACHED)

    @router.get("/thumbnails/{picture_id}", response_class=Response)
    async def thumbnail(picture_id: wire.Id) -> Response:
        """Return a small JPEG of a picture."""
        return Response(await service.thumbnail(picture_id), media_type="image/jpeg", headers=_CACHED)

    return router


def _comparing(service: Service) -> APIRouter:
    """Return the endpoints over the model alone."""
    router = APIRouter(tags=["compare"])

    async def read(part: str | wire.Part) -> str | Image.Image:
        url = part.image_url if isinstance(part, wire.Part) else None
        text = part.text if isinstance(part, wire.Part) else part
        if (url is None) == (text is None):
            raise RefusedError(400, "An input part has either text or image_url.")
        if url is not None:
            return await service.decode(await service.fetch(url if isinstance(url, str) else url.url))
        assert text is not None
        service.check_texts([text])
        return text

    @router.post("/v1/embeddings")
    async def embeddings(request: wire.EmbeddingRequest) -> wire.Embeddings:
        """Embed texts and pictures, as OpenAI's clients ask for them."""
        parts = request.input if isinstance(request.input, list) else [request.input]
        service.check_count(len(parts), "inputs")
        outputs = await service.embed([await read(part) for part in parts], request.kind)
        if request.dimensions not in (None, len(outputs[0].row)):
            raise RefusedError(
                400, f"This model's embeddings have {len(outputs[0].row)} dimensions, not {request.dimensions}."
            )
        tokens = sum(output.tokens for output in outputs)
        data = [
            wire.Embedding(index=index, embedding=_encoded(output.row, request.encoding_format))
            for index, output in enumerate(outputs)
        ]
        usage = wire.Usage(prompt_tokens=tokens, total_tokens=tokens)
        return wire.Embeddings(data=data, model=service.model_name, usage=usage)

    @router.get("/v1/models")
    def models() -> wire.Models:
        """Return the one model, as OpenAI's clients ask for it."""
        return wire.Models(data=[wire.Model(id=service.model_name, created=service.started)])

    @router.post("/rank")
    async def rank(request: wire.RankRequest) -> wire.Similarities:
        """Return the cosine of each text and each picture."""
        service.check_count(len(request.texts) + len(request.pictures), "texts and pictures")
        service.check_texts(request.texts)
        images = [await service.decode(await service.fetch(url)) for url in request.pictures]
        outputs = await service.embed([*request.texts, *images], None)
        rows = np.stack([output.row for output in outputs])
        count = len(request.texts)
        return wire.Similarities(similarities=(rows[:count] @ rows[count:].T).tolist())

    return router


def _watching(service: Service) -> APIRouter:
    """Return the endpoints for whoever keeps the service running."""
    router = APIRouter(tags=["watch"])

    @router.get("/health", responses={503: {"model": wire.Health}})
    def health() -> JSONResponse:
        """Return the true state: 200 if a request would be answered, 503 if not."""
        state = _health(service)
        return JSONResponse(state.model_dump(), 200 if state.status == "ok" else 503)

    @router.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Return counters for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router


def _health(service: Service) -> wire.Health:
    state = service.batcher.state()
    status, count = "ok", 0
    try:
        count = service.searcher.count
    except (OSError, ValueError, RuntimeError):
        logger.exception("the index cannot be read")
        status = "no index"
    if not state.running:
        status = "stopping"
    elif state.busy_seconds > service.limits.answer_seconds:
        status = "stuck"
    return wire.Health.model_validate(
        {
            "status": status,
            "model": service.model_name,
            "pictures": count,
            "queued": state.queued,
            "busy_seconds": round(state.busy_seconds, 3),
            "last_batch": state.last and wire.LastBatch.model_validate(state.last),
        }
    )


def _add_page(app: FastAPI) -> None:
    """Add the page, its files, and the endpoints' documentation, none of which asks another host for anything."""
    fresh = {"cache-control": "no-cache"}

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=fresh)

    @app.get("/docs", include_in_schema=False)
    def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html", headers=fresh)

    app.mount("/page", StaticFiles(directory=PAGE), name="page")


def _add_refusals(app: FastAPI) -> None:
    """Answer every mistake with one line of JSON."""

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return RefusedError(422, complaint(error.errors())).response()

    @app.exception_handler(NotServed)
    async def not_served(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(body(error.status_code, str(error.detail)), error.status_code, error.headers)


async def _question(service: Service, query: wire.SearchRequest, image: bytes | None) -> "Question":
    """Return the query for the searcher, within the limits."""
    from ..search.query import Query as Question

    service.check_texts([query.text, query.exclude, query.where])
    if not query.text.strip() and image is None:
        raise RefusedError(400, "The query is empty. Give a text, a picture or both.")
    if query.box is not None and image is None:
        raise RefusedError(400, "A box needs the picture that it lies in.")
    decoded = None if image is None else await service.decode(image)
    box, k = None if query.box is None else _checked(query.box), service.bounded(query.k)
    try:
        return Question(query.text, decoded, box, query.exclude, query.where, k, query.mode)
    except ValueError as error:  # the filter is none
        raise RefusedError(400, str(error)) from error


def _checked(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise RefusedError(
            400, f"Box {box} is none: give (x0, y0, x1, y1) in fractions, 0 <= x0 < x1 <= 1, likewise y."
        )
    return box


def _hits(hits: Any, start: float) -> wire.Hits:
    wire_hits = [wire.Hit.model_validate(hit) for hit in hits]
    return wire.Hits(hits=wire_hits, seconds=round(time.perf_counter() - start, 4))


def _explanation(explanation: Any) -> wire.Explanation:
    heat = np.asarray(explanation.heat, dtype=np.float64).round(4)
    return wire.Explanation(
        phrase=explanation.phrase, box=explanation.box, similarity=explanation.similarity, heat=heat.tolist()
    )


def _encoded(row: np.ndarray, form: str) -> list[float] | str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode() if form == "base64" else row.tolist()
