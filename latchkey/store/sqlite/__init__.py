"""SQLite as the store: its file, its connections, backup and restore."""
