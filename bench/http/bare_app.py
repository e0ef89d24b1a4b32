"""The protected application: one route, a short answer. Behind every gateway the same."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI(openapi_url=None)


@app.get("/")
async def root() -> PlainTextResponse:
    """What every request of the benchmark gets."""
    return PlainTextResponse("Hello world.")
