"""Support for the tests of several boxes: namespaces, proxies, load, and what must hold."""
