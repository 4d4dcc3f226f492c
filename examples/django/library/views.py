"""The site's pages, and where they are."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import path

import causal_otel
from library.models import Book


def books(request: HttpRequest) -> JsonResponse:
    """All books. Every author is a query of its own, which the trace shows: ``select_related("author")`` is missing."""
    return JsonResponse({book.title: book.author.name for book in Book.objects.order_by("pk")})


async def book(request: HttpRequest, number: int) -> JsonResponse:
    """One book; an asynchronous view. A number that there is not raises an exception, and is a 500."""
    found = await Book.objects.select_related("author").aget(pk=number)
    with causal_otel.span("describe the book", {"number": number}):
        return JsonResponse({"title": found.title, "author": found.author.name})


urlpatterns = [path("books", books), path("books/<int:number>", book)]
