"""The web console in Debian's Chromium, driven by Playwright against a real service."""
