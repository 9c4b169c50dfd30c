/* buckets.h - find numbered items by a hash of their contents. The items stay with the caller, who
 * compares them; several may have one key. */
#pragma once
#include "recurd/base.h"

struct rcd__buckets {
    uint32_t *heads; /* entry numbers; UINT32_MAX: empty */
    struct rcd__bucket_entry {
        uint64_t key;
        uint32_t item, next;
    } * entries;
    size_t n_heads, n, cap;
};

/** A key from what came before and `len` bytes. */
uint64_t rcd__key(uint64_t seed, const void *bytes, size_t len);
/** False: no memory. */
RCD_MUST_CHECK bool rcd__buckets_add(struct rcd__buckets *b, uint64_t key, uint32_t item);
/** The next item with that key, newest first; *at starts as UINT32_MAX. UINT32_MAX: no more. */
uint32_t rcd__buckets_find(const struct rcd__buckets *b, uint64_t key, uint32_t *at);
void rcd__buckets_done(struct rcd__buckets *b);
