/* Memory for tables with random access. A processor caches few page addresses, and between two
 * accesses to such a table they are evicted; finding them again takes as long as reading the data.
 So
 * a large table is placed in huge pages if the kernel has them (madvise(2), MADV_HUGEPAGE).
 */
#ifndef FASTCACHE_HUGE_PAGES_H
#define FASTCACHE_HUGE_PAGES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define FASTCACHE_HUGE_PAGE ((size_t)2 << 20)

/* Maps `size` zero bytes, page-aligned; huge-page-aligned if the size is a multiple of one. NULL if
 * there is no memory. Untouched pages take none. */
static inline void *fastcache_map_pages(size_t size)
{
    const int huge = size > 0 && size % FASTCACHE_HUGE_PAGE == 0;
    const size_t spare = huge ? FASTCACHE_HUGE_PAGE : 0;
    char *mapped, *begin;
    size_t before;
    if (size > SIZE_MAX - spare) {
        return NULL;
    }
    mapped = mmap(NULL, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
        return NULL;
    }
    if (!huge) {
        return mapped;
    }
    before = (spare - (uintptr_t)mapped % spare) % spare;
    begin = mapped + before;
    if (before > 0) {
        (void)munmap(mapped, before);
    }
    (void)munmap(begin + size, spare - before);
#if defined(MADV_HUGEPAGE)
    (void)madvise(begin, size, MADV_HUGEPAGE);
#endif
    return begin;
}

/* Unmaps memory that fastcache_map_pages returned for the same size. */
static inline void fastcache_unmap_pages(void *pages, size_t size)
{
    if (pages != NULL) {
        (void)munmap(pages, size);
    }
}

#endif
