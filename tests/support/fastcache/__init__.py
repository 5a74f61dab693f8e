"""Support for the tests of fastcache."""
