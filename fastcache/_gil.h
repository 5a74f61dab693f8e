/* Whether CPython was built with the GIL; the only place that checks this. */
#ifndef FASTCACHE_GIL_H
#define FASTCACHE_GIL_H

#include <Python.h>

#ifdef Py_GIL_DISABLED
#define FASTCACHE_GIL 0
#else
#define FASTCACHE_GIL 1
#endif

#endif
