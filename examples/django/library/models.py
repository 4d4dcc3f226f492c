"""Books and who has written them."""

from __future__ import annotations

from django.db import models


class Author(models.Model):
    """Who writes books."""

    name = models.CharField(max_length=100)


class Book(models.Model):
    """What is on the shelves."""

    title = models.CharField(max_length=100)
    author = models.ForeignKey(Author, on_delete=models.CASCADE)
