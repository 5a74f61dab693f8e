# cython: always_allow_keywords=False
"""The numbers of the counters and of the fields that compiled code writes; see the .pxd file."""
