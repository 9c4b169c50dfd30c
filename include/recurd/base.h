/* base.h - what every folder stands on: status and error, memory with fault injection, arena,
 * bounded buffer, clocks, checked sizes. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RCD_MUST_CHECK __attribute__((warn_unused_result))
#define RCD_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))
#define RCD_COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { RCD_ALIGN = 64 }; /* alignment of tensors, weights and blocks: one cache line, one zmm */

/* ---- status and error ---------------------------------------------------------------- */

typedef enum rcd_status {
#define X(name, http, word) RCD_##name,
#include "recurd/errors.def"
#undef X
    RCD_STATUS_MAX
} rcd_status;

enum { RCD_ERROR_TEXT = 320 };

/** A status with its message for a person. Caller-owned; cheap to copy. */
struct rcd_error {
    rcd_status code;
    char text[RCD_ERROR_TEXT];
};

/** Fill `err` (may be NULL) and return `code`, so that `return rcd_fail(...)` reads well.
 * The message names the bad value, the limit and the place. Threading: any thread. */
rcd_status rcd_fail(struct rcd_error *err, rcd_status code, const char *fmt, ...) RCD_PRINTF(3, 4);

/** Put text in front of the message in `err` (may be NULL); returns err's code unchanged.
 * Threading: any thread. */
rcd_status rcd_error_prefix(struct rcd_error *err, rcd_status code, const char *fmt, ...)
    RCD_PRINTF(3, 4);

/** HTTP status code for a status; 500 for values out of range. Threading: any thread. */
int rcd_status_http(rcd_status code);

/** Stable lower-case word for the error object's "code" member. Threading: any thread. */
const char *rcd_status_word(rcd_status code);

/** Asserts are on in every build. They are for our own bugs, never for input. */
#define RCD_ASSERT(cond)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            rcd_assert_failed(#cond, __FILE__, __LINE__);                                          \
    } while (0)
__attribute__((noreturn, cold)) void rcd_assert_failed(const char *cond, const char *file,
                                                       int line);

/* ---- memory -------------------------------------------------------------------------- */

/** malloc family with one seam for fault injection; all return NULL on failure (size 0 gives a
 * valid pointer). Release with rcd_free. Threading: any thread. */
RCD_MUST_CHECK void *rcd_alloc(size_t bytes);
RCD_MUST_CHECK void *rcd_calloc(size_t count, size_t bytes);
RCD_MUST_CHECK void *rcd_realloc(void *old, size_t bytes);
/** `bytes` rounded up to and aligned at RCD_ALIGN; contents undefined. Release with rcd_free. */
RCD_MUST_CHECK void *rcd_alloc_aligned(size_t bytes);
/** Asks for huge pages (RCD_HUGE_PAGE bytes each) where whole ones lie inside `memory`; before anything is written there.
 * A request only: without them all is the same, and slower. */
#define RCD_HUGE_PAGE ((size_t)2 << 20)
void rcd_huge_pages(void *memory, size_t bytes);
RCD_MUST_CHECK char *rcd_strdup(const char *text);
RCD_MUST_CHECK char *rcd_strndup(const char *text, size_t len);
void rcd_free(void *p);
/** rcd_free for what may be large and is not soon wanted again: the pages of a large block go back to the system at once,
 * wherever malloc had it (it keeps what is smaller than the largest block that was ever freed, up to 32 MiB). */
void rcd_free_large(void *p);

/** Test seam: let the next `n` allocations of this thread succeed and the one after fail (once);
 * SIZE_MAX switches it off. rcd_fault_hit tells whether the failure was delivered. */
void rcd_fault_after(size_t n);
bool rcd_fault_hit(void);

/** a * b (a + b) into *ret; false when it overflows size_t. Threading: any thread. */
static inline bool rcd_mul(size_t a, size_t b, size_t *ret)
{
    return !__builtin_mul_overflow(a, b, ret);
}
static inline bool rcd_add(size_t a, size_t b, size_t *ret)
{
    return !__builtin_add_overflow(a, b, ret);
}

/* ---- arena ---------------------------------------------------------------------------- */

struct rcd_arena_chunk;
/** Bump allocator whose pieces are released all at once; one owner, no lock. A limit is given at
 * birth, so nothing a client sends can make it grow without bound. */
struct rcd_arena {
    struct rcd_arena_chunk *head;
    size_t used, max;
};

/** Ready an arena that hands out at most `max_bytes`. Threading: owner only (all calls). */
void rcd_arena_init(struct rcd_arena *a, size_t max_bytes);
/** Release everything; the arena may be used again. */
void rcd_arena_done(struct rcd_arena *a);
/** As rcd_arena_done, but for the first 4 KiB, which stay for the next use. */
void rcd_arena_clear(struct rcd_arena *a);
/** 16-byte aligned (RCD_ALIGN for the _aligned form), undefined contents; NULL when memory or the
 * limit is exhausted. Lives until rcd_arena_done. */
RCD_MUST_CHECK void *rcd_arena_alloc(struct rcd_arena *a, size_t bytes);
RCD_MUST_CHECK void *rcd_arena_alloc_aligned(struct rcd_arena *a, size_t bytes);
RCD_MUST_CHECK void *rcd_arena_calloc(struct rcd_arena *a, size_t count, size_t bytes);
RCD_MUST_CHECK char *rcd_arena_strndup(struct rcd_arena *a, const char *text, size_t len);

/** Bytes of an arena that nobody will read again: the whole pages among them go back to the system, the
 * addresses stay taken. Returns how many bytes went. Threading: owner only. */
size_t rcd_arena_forget(void *p, size_t bytes);

/* ---- bounded buffer -------------------------------------------------------------------- */

/** Growable bytes with a maximum given at birth. Failed appends leave the contents as they were
 * and set `failed`, so a chain of appends needs one check at its end. */
struct rcd_buf {
    char *data; /* owned; not NUL-terminated */
    size_t len, cap, max;
    bool failed;
};

/** Threading: owner only (all calls). */
void rcd_buf_init(struct rcd_buf *b, size_t max_bytes);
void rcd_buf_done(struct rcd_buf *b);
/** Bytes that can be appended without asking for memory. */
static inline size_t rcd_buf_room(const struct rcd_buf *b)
{
    return (b->cap < b->max ? b->cap : b->max) - b->len;
}
/** RCD_ETOOBIG over the maximum, RCD_ENOMEM without memory. */
rcd_status rcd_buf_append_slow(struct rcd_buf *b, const void *bytes, size_t len);
static inline rcd_status rcd_buf_append(struct rcd_buf *b, const void *bytes, size_t len)
{
    if (len > rcd_buf_room(b) || len == 0)
        return rcd_buf_append_slow(b, bytes, len);
    __builtin_memcpy(b->data + b->len, bytes, len);
    b->len += len;
    return RCD_OK;
}
rcd_status rcd_buf_puts(struct rcd_buf *b, const char *text);
rcd_status rcd_buf_printf(struct rcd_buf *b, const char *fmt, ...) RCD_PRINTF(2, 3);
/** Room for `len` more bytes; returns where to write them (call rcd_buf_commit after), or NULL. */
RCD_MUST_CHECK char *rcd_buf_reserve(struct rcd_buf *b, size_t len);
static inline void rcd_buf_commit(struct rcd_buf *b, size_t len)
{
    b->len += len;
}

/* ---- clocks ---------------------------------------------------------------------------- */

/** Monotonic nanoseconds, for durations and deadlines. Threading: any thread. */
uint64_t rcd_now_ns(void);
/** Wall clock, milliseconds since 1970, for people and statistics. Threading: any thread. */
uint64_t rcd_wall_ms(void);

/* ---- text ------------------------------------------------------------------------------ */

/** Copy `text` into `out` for a log line or an error: control bytes and bytes over 0x7e become
 * \xNN, at most `cap - 1` characters, "..." when cut. Returns out. Threading: any thread. */
char *rcd_quote(char *out, size_t cap, const char *text, size_t len);

#ifdef __cplusplus
}
#endif
