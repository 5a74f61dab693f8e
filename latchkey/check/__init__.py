"""The check: headers, the authenticator, its caches, and the compiled path of a hit."""
