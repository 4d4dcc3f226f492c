"""The pages: templates, styles and small scripts over a trace reader."""
