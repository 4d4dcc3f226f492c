"""The embedded collector: receives OTLP, keeps thirty days, within 5 GB, searches, shows.

It imports nothing of ours but ``settings``; OTLP messages are its only tie to the rest, so it can run elsewhere.
"""
