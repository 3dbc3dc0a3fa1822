/* Freestone's own functions, beside the usual ones of <stdlib.h> and <malloc.h>.
 *
 * A program that is linked with the library can call them as they are. One that runs with or without it (LD_PRELOAD)
 * defines FREESTONE_WEAK before it includes this file, and asks before it calls:
 *
 *     #define FREESTONE_WEAK
 *     #include <freestone.h>
 *     if (freestone_set_limits) freestone_set_limits(FREESTONE_PERCENT(70), FREESTONE_PERCENT(80));
 *
 * All may be called by any thread at any time, but not from signal handlers. */
#ifndef FREESTONE_H
#define FREESTONE_H

#include <stddef.h>
#include <stdint.h>

#ifdef FREESTONE_WEAK
#define FREESTONE_FUNCTION __attribute__((weak))
#else
#define FREESTONE_FUNCTION
#endif

#ifdef __cplusplus
extern "C" {
#define FREESTONE_NOEXCEPT noexcept
#else
#define FREESTONE_NOEXCEPT
#endif

/* Options that the program is built with, in the words of FREESTONE_CONF, which overrides them:
 *
 *     const char *freestone_conf = "profile:lean,limit_soft:80%";
 *
 * Read once, on the first request. A program into which the library comes by LD_PRELOAD must export the symbol
 * (link with -rdynamic); one that is linked with the library, shared or static, need not. x86-64 only. */
extern const char *freestone_conf;

/* A limit in per cent (1 to 100) of what the process's control groups allow, or of the machine's memory where that is
 * less. It becomes a number of bytes when it is set: a container that is resized later has to be asked again. */
#define FREESTONE_PERCENT(part) (SIZE_MAX - 128 + (size_t)(part))

/* Sets both limits on the footprint: bytes, FREESTONE_PERCENT(part), or 0 for no limit.
 *
 * Beyond the soft limit free memory goes back at once, and the callback is called. The hard limit is not exceeded: an
 * allocation first has everything given back that can be, and then fails with NULL and ENOMEM. What exceeds a limit when it is set
 * stays.
 *
 * Returns 0, or -1 with errno EINVAL and both limits as they were. */
FREESTONE_FUNCTION int freestone_set_limits(size_t soft, size_t hard) FREESTONE_NOEXCEPT;

/* Has `callback` called each time the footprint crosses the soft limit from below, with both in bytes; NULL: nobody.
 * It has crossed again when it has been below nine tenths of the limit meanwhile. The callback runs on the thread that allocates or
 * frees, in the middle of that call, which holds nothing of the allocator's: it may allocate and free. It must not take a
 * lock that its callers hold while they allocate. */
FREESTONE_FUNCTION void freestone_on_soft_limit(void (*callback)(size_t footprint,
                                                                 size_t limit)) FREESTONE_NOEXCEPT;

/* Bytes in use or waiting for reuse: what the limits are about. */
FREESTONE_FUNCTION size_t freestone_footprint(void) FREESTONE_NOEXCEPT;

/* Opens the control of this process: a shared page of figures and a socket for commands, private to the user; what
 * `freestone top PID` and `freestone ctl PID` attach to. Returns 0 when it is open, else -1 with errno. As with getenv, no
 * other thread may change the environment meanwhile. */
FREESTONE_FUNCTION int freestone_control_open(void) FREESTONE_NOEXCEPT;

/* Closes the control and removes its files. Harmless when it is not open. */
FREESTONE_FUNCTION void freestone_control_close(void) FREESTONE_NOEXCEPT;

/* Begins a heap profile: a sample every `mean` requested bytes, on average; 0 stands for 512 KiB, which costs less than 1 %
 * of a program's time. What an earlier profile gathered is forgotten. Returns 0, or -1 with errno: EINVAL (a mean of more than 127 MiB),
 * EBUSY (the process forks at this moment), ENOTSUP (debug mode is on). */
FREESTONE_FUNCTION int freestone_profile_start(size_t mean) FREESTONE_NOEXCEPT;

/* Ends the profile. What it gathered can still be written. */
FREESTONE_FUNCTION void freestone_profile_stop(void) FREESTONE_NOEXCEPT;

/* Writes the profile to the file at `path`, for `freestone profile`. With `lost` not 0, it is searched first for blocks that nothing
 * leads to any more, which takes about a second for a GiB. Returns 0, or -1 with errno. */
FREESTONE_FUNCTION int freestone_profile_write(const char *path, int lost) FREESTONE_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
