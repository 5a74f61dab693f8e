"""What the tests of fastcache are written with."""
