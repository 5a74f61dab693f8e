"""Tests of fastcache."""
