"""The store over real SQLite files: what it keeps, how it opens them, how they are made."""
