"""A small API of the kind that people put behind a line: typed, documented, with errors."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Response
from pydantic import BaseModel, Field

app = FastAPI(title="A shop")


class Order(BaseModel):
    """What a customer wants."""

    article: str
    count: Annotated[int, Field(ge=1)]
    note: str | None = None


@app.get("/health")
def health() -> dict[str, str]:
    return {"state": "well"}


@app.get("/articles")
def articles(limit: Annotated[int, Query(ge=1)], like: str) -> dict[str, object]:
    return {"limit": limit, "like": like}


@app.get("/prices")
async def prices(limit: int, factor: float = 1.0) -> list[float]:
    return [factor * n for n in range(limit)]


@app.get("/stock/articles")
def stock(limit: int, like: str) -> Response:
    return Response(f"{like};{limit}\n", media_type="text/csv", headers={"x-rows": "1"})


@app.get("/fails/")
def fails(code: int) -> None:
    raise HTTPException(code, detail=f"asked to fail with {code}")


@app.post("/orders/", status_code=201)
def order(order: Order) -> Order:
    return order
