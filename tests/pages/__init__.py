"""The pages of the documentation, followed from beginning to end."""
