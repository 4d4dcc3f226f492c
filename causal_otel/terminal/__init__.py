"""Trees, columns, durations and pieces of text, for a terminal or a file: the console exporter's and the CLI's."""
