"""Trees, columns, durations and printable text, for a terminal or a file: the console exporter's and the CLI's."""
