"""The domain: credentials, the derivation of their secrets, and the operations on them.

It contains no Flask and no SQL.
"""
