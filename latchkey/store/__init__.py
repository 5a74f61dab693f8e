"""The store: its protocols, and their implementations in SQL."""
