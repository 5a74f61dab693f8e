/* The system's clocks, read without a Python call. Reading a clock that exists cannot fail. */
#ifndef FASTCACHE_CLOCK_H
#define FASTCACHE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Only on Linux are time.monotonic and CLOCK_MONOTONIC known to have the same origin. */
#if defined(__linux__)
#define FASTCACHE_NATIVE_CLOCK 1
#else
#define FASTCACHE_NATIVE_CLOCK 0
#endif

/* The clock of time.monotonic_ns, and clocks that are faster to read where the system has them. */
#if defined(__linux__)
#define FASTCACHE_MONOTONIC CLOCK_MONOTONIC
#define FASTCACHE_MONOTONIC_COARSE CLOCK_MONOTONIC_COARSE
#define FASTCACHE_REALTIME_COARSE CLOCK_REALTIME_COARSE
/* The one that also counts the time in suspend; it starts with the machine. */
#define FASTCACHE_BOOTTIME CLOCK_BOOTTIME
#else
#if defined(__APPLE__)
#define FASTCACHE_MONOTONIC CLOCK_UPTIME_RAW
#else
#define FASTCACHE_MONOTONIC CLOCK_MONOTONIC
#endif
#define FASTCACHE_MONOTONIC_COARSE FASTCACHE_MONOTONIC
#define FASTCACHE_REALTIME_COARSE CLOCK_REALTIME
#define FASTCACHE_BOOTTIME CLOCK_MONOTONIC
#endif

#define fastcache_gettime clock_gettime

/* Upper bound of the coarse clock's lag, in seconds: many ticks of any kernel. */
#define FASTCACHE_LAG 0.1

/* Seconds since the origin of CLOCK_MONOTONIC, the clock behind time.monotonic. */
static inline double fastcache_monotonic(void)
{
#if FASTCACHE_NATIVE_CLOCK
    struct timespec now = {0, 0};
    (void)fastcache_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
#else
    return 0.0;
#endif
}

/* The same, up to some kernel ticks earlier, without reading the hardware clock. */
static inline double fastcache_monotonic_coarse(void)
{
#if FASTCACHE_NATIVE_CLOCK
    struct timespec now = {0, 0};
    (void)fastcache_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
#else
    return 0.0;
#endif
}

/* Nanoseconds since a clock's origin, which is the same in every process. */
static inline uint64_t fastcache_nanoseconds(clockid_t clock)
{
    struct timespec now = {0, 0};
    (void)fastcache_gettime(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* The same in milliseconds. */
static inline int64_t fastcache_milliseconds(clockid_t clock)
{
    struct timespec now = {0, 0};
    (void)fastcache_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Nanoseconds since the origin of time.monotonic_ns. */
static inline uint64_t fastcache_monotonic_ns(void)
{
    return fastcache_nanoseconds(FASTCACHE_MONOTONIC);
}

/* A time that fastcache_monotonic has not reached yet: a later deadline cannot have passed. */
static inline double fastcache_monotonic_soon(void)
{
    return fastcache_monotonic_coarse() + FASTCACHE_LAG;
}

#endif
