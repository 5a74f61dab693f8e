"""Forward authentication: the answers to reverse proxies, and the rules of a routes file."""
