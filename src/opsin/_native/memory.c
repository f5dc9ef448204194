/* Large new buffers: malloc takes them fresh from the system each time, which hands them out page by page, zeroed, as
   they are first touched. In pages of 4 KiB that takes longer than many a layer; in those of 2 MiB it is hardly seen.
   Linux uses them by itself or when asked, as it is set up. */

#define _DEFAULT_SOURCE

#include <stdint.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#define HUGE (2 << 20)
#define LEAST (4 << 20)

/* Asks for huge pages in a buffer that has not been touched yet. A refusal does no harm. */
void opsin_use_huge_pages(void *buffer, int64_t bytes) {
#if defined(MADV_HUGEPAGE)
    const uintptr_t start = ((uintptr_t)buffer + HUGE - 1) & -(uintptr_t)HUGE;
    const uintptr_t end = ((uintptr_t)buffer + (uintptr_t)bytes) & -(uintptr_t)HUGE;
    if (bytes >= LEAST && end > start) (void)madvise((void *)start, end - start, MADV_HUGEPAGE);
#else
    (void)buffer, (void)bytes;
#endif
}
