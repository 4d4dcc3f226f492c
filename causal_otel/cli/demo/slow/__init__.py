"""The slow demo: a service in which every cause that a request may be slow for is planted once."""
