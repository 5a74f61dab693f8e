"""Tests that need another user on this machine, which only root can become or give files to."""

from __future__ import annotations

import os

import pytest

NOBODY = 65534
"""The user and the group ``nobody``, on every Linux system."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
