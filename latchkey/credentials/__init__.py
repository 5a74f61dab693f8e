"""The domain: what a credential is, how its secret is derived, and what happens to it.

It contains no Flask and no SQL.
"""
