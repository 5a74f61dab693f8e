"""The domain: what a credential is, how its secret is derived, and what happens to it.

No Flask and no SQL in here.
"""
