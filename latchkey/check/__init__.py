"""The check itself: headers, the authenticator, its caches, and the compiled path of a hit."""
