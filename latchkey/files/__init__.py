"""Files of an instance: safe opening, ownership, and locks with a timeout."""
