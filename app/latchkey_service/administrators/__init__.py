"""The administrators of the console: who they are, their passwords and their sessions."""
