"""Tests of the web console in Debian's Chromium, by Playwright against a real service."""
