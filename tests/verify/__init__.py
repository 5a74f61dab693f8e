"""Forward authentication."""
