"""What callers send, made safe and short: SQL, Cypher, Redis commands and URLs.

Text goes in, sanitised text and a summary come out. Nothing here knows a driver, a span or a setting.
"""
