"""The cache alone: ``fastcache`` beside ``dict`` and other caches, in one run."""
