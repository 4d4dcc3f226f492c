"""Why work took as long as it did: event loops that stood still, and what of it can be told of spans."""
