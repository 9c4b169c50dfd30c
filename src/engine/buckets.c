/* buckets.c - chains of entries, twice as many heads whenever they fill. */
#include "buckets.h"

uint64_t rcd__key(uint64_t seed, const void *bytes, size_t len)
{
    uint64_t h = (seed ^ UINT64_C(0xcbf29ce484222325)) * UINT64_C(0x100000001b3); /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        h = (h ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    return h ^ h >> 29;
}

static bool grow(struct rcd__buckets *b)
{
    size_t cap = b->cap * 2 + 64;
    struct rcd__bucket_entry *entries = rcd_realloc(b->entries, cap * sizeof *entries);
    if (entries == NULL)
        return false;
    b->entries = entries;
    uint32_t *heads = rcd_realloc(b->heads, cap * sizeof *heads);
    if (heads == NULL)
        return false;
    b->heads = heads;
    b->n_heads = b->cap = cap;
    for (size_t i = 0; i < cap; i++)
        heads[i] = UINT32_MAX;
    for (uint32_t e = 0; e < b->n; e++) {
        entries[e].next = heads[entries[e].key % cap];
        heads[entries[e].key % cap] = e;
    }
    return true;
}

bool rcd__buckets_add(struct rcd__buckets *b, uint64_t key, uint32_t item)
{
    if (b->n == b->cap && !grow(b))
        return false;
    uint32_t *head = &b->heads[key % b->n_heads];
    b->entries[b->n] = (struct rcd__bucket_entry){.key = key, .item = item, .next = *head};
    *head = (uint32_t)b->n++;
    return true;
}

uint32_t rcd__buckets_find(const struct rcd__buckets *b, uint64_t key, uint32_t *at)
{
    if (b->n_heads == 0)
        return UINT32_MAX;
    *at = *at == UINT32_MAX ? b->heads[key % b->n_heads] : b->entries[*at].next;
    while (*at != UINT32_MAX && b->entries[*at].key != key)
        *at = b->entries[*at].next;
    return *at == UINT32_MAX ? UINT32_MAX : b->entries[*at].item;
}

void rcd__buckets_done(struct rcd__buckets *b)
{
    rcd_free(b->heads);
    rcd_free(b->entries);
}
