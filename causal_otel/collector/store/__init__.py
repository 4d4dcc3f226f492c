"""The store: one SQLite file per UTC day, one writer, any number of readers in any process."""
