"""The board's HTTP side: the page, the stream of events, the search."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import FileResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic_core import to_json

from consumers.board.guard import Guard
from consumers.board.hub import Hub, TooManyViewers
from pipeline.events.records import Prediction
from pipeline.search.errors import BadQuery, SearchFailure
from pipeline.search.queries import Found

STATIC = Path(__file__).parent / "static"
MAX_QUERY_CHARACTERS = 2_000
MAX_FOUND = 200
EVENTS = "text/event-stream"
Search = Callable[[str, int], Found]


def web_app(hub: Hub, search: Search, names: frozenset[str] | None) -> FastAPI:
    """Returns the board's application.

    Args:
        hub: what browsers are told.
        search: finds the newest predictions for a query string, at most so many.
        names: host names that it may be asked by; None for any.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        hub.open()
        yield

    app = FastAPI(title="trimodal", openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, names=names)
    app.mount("/static", StaticFiles(directory=STATIC))

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/events")
    async def events(*, still: bool = False) -> Response:
        if still:
            return Response(hub.glance(), media_type=EVENTS)
        try:
            stream = hub.watch()
        except TooManyViewers as error:
            return _problem(503, str(error))
        return StreamingResponse(stream, media_type=EVENTS, headers={"X-Accel-Buffering": "no"})

    @app.get("/search")
    def found(
        q: Annotated[str, Query(max_length=MAX_QUERY_CHARACTERS)] = "*",
        size: Annotated[int, Query(ge=1, le=MAX_FOUND)] = 50,
    ) -> Response:
        try:
            result = search(q.strip() or "*", size)
        except BadQuery as error:
            return _problem(400, str(error))
        except SearchFailure as error:
            return _problem(503, str(error))
        return _json(200, {"total": result.total, "predictions": [_row(p) for p in result.predictions]})

    return app


def _row(prediction: Prediction) -> dict[str, Any]:
    return {
        "event_time_ms": prediction.event_time_ms,
        "key": prediction.key,
        "label": prediction.label,
        "confidence": prediction.confidence,
        "modalities": [modality.name.lower() for modality in prediction.modalities],
        "revision": prediction.revision,
        "latency_ms": prediction.latency_ms,
        "model": f"{prediction.model} {prediction.model_version}",
    }


def _problem(status: int, says: str) -> Response:
    return _json(status, {"problem": says})


def _json(status: int, content: Any) -> Response:
    return Response(to_json(content, inf_nan_mode="null"), status, media_type="application/json")
