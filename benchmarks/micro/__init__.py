"""The cache by itself: ``fastcache`` compared with ``dict`` and other caches, in one run."""
