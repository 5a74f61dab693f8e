"""What is stored: the protocols of a store, and their implementations in SQL."""
