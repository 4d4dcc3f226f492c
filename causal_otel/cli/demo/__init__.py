"""The demo: a whole service on real servers, started by one command."""
