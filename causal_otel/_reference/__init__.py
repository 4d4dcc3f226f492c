"""The generated pages of the documentation: what the code knows, as Markdown. ``make docs`` writes them.

A page is generated as a whole, or has blocks between two comments that are. Nothing else imports this package.
"""
