"""SQLite as the store: its file, its connections, migrations, backup and restore."""
