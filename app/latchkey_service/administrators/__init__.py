"""The administrators of the console, their passwords and their sessions."""
