"""A store's orders: FastAPI and SQLAlchemy, with asyncio. Nothing here is about tracing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from sqlalchemy import ForeignKey
from sqlalchemy.ext.asyncio import AsyncAttrs, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload
from sqlalchemy.pool import StaticPool

__all__ = ["app"]

engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
session = async_sessionmaker(engine)


class Base(AsyncAttrs, DeclarativeBase):
    """What all tables have."""


class Article(Base):
    """What can be ordered."""

    __tablename__ = "articles"
    id: Mapped[int] = mapped_column(primary_key=True)
    cents: Mapped[int]


class Item(Base):
    """A line of an order."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    article_id: Mapped[int] = mapped_column(ForeignKey("articles.id"))
    article: Mapped[Article] = relationship()


class Order(Base):
    """What somebody has ordered."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    items: Mapped[list[Item]] = relationship()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Fill a new database, with an order of five articles."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with session.begin() as adding:
        adding.add(Order(id=1, items=[Item(article=Article(cents=100 * number)) for number in range(1, 6)]))
    yield
    await engine.dispose()


app = FastAPI(title="Store", lifespan=lifespan)


@app.get("/orders/{number}")
async def total(number: int) -> dict[str, int]:
    """What an order costs."""
    async with session() as reading:
        order = await reading.get(Order, number, options=[selectinload(Order.items).selectinload(Item.article)])
        if order is None:
            raise HTTPException(404)
        return {"cents": sum([(await item.awaitable_attrs.article).cents for item in order.items])}
