"""From ended spans to a back end: the worker, and what it hands batches to."""
