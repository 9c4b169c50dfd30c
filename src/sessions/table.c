/* table.c - from a session's id to its record: open addressing, tags beside the places. */
#include "sessions_int.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { FIRST_SIZE = 256 };

uint64_t rcd__id_hash(const struct rcd_session_id *id)
{
    if (id->text == NULL)
        return XXH3_64bits_withSeed(&id->number, sizeof id->number, 1);
    return XXH3_64bits_withSeed(id->text, id->len, 2);
}

struct rcd_session_id rcd__record_id(const rcd_sessions *s, const struct rcd__record *r)
{
    struct rcd_session_id id = {.text = NULL};
    if (r->id_kind == RCD__ID_NUMBER) {
        memcpy(&id.number, r->id, sizeof id.number);
    } else {
        id.len = r->id_len;
        id.text = r->id;
        if (r->id_kind == RCD__ID_LONG) {
            uint32_t blob = 0;
            memcpy(&blob, r->id, sizeof blob);
            id.text = rcd__blob_at(s, blob)->data;
        }
    }
    return id;
}

uint16_t rcd__record_sum(const struct rcd__record *r)
{
    char text[RCD__ID_INLINE + 16] = "";
    memcpy(text, r->id, RCD__ID_INLINE);
    memcpy(text + RCD__ID_INLINE, &r->created_s, 4);
    memcpy(text + RCD__ID_INLINE + 4, &r->generation, 4);
    text[RCD__ID_INLINE + 8] = (char)r->id_kind;
    text[RCD__ID_INLINE + 9] = (char)r->id_len;
    return (uint16_t)(XXH3_64bits(text, sizeof text) | 1); /* a free record's is even */
}

uint64_t rcd__record_tag(const struct rcd__record *r, uint32_t of)
{
    return XXH3_64bits_withSeed(r->id, RCD__ID_INLINE, (uint64_t)r->generation << 32 | of);
}

uint64_t rcd__extra_tag(const struct rcd__record *r, const struct rcd__extra *x)
{
    return XXH3_64bits_withSeed(
        &x->type, offsetof(struct rcd__extra, tag) - offsetof(struct rcd__extra, type),
        rcd__record_tag(r, x->row));
}

static bool same(const rcd_sessions *s, uint32_t at, const struct rcd_session_id *id)
{
    struct rcd_session_id other = rcd__record_id(s, rcd__record_at(s, at));
    if ((other.text == NULL) != (id->text == NULL))
        return false;
    if (id->text == NULL)
        return other.number == id->number;
    return other.len == id->len && memcmp(other.text, id->text, id->len) == 0;
}

/* The slot that holds the id, or the empty one where the search ends. */
static size_t slot_of(const rcd_sessions *s, const struct rcd_session_id *id, uint64_t hash)
{
    size_t mask = s->table_size - 1, i = (size_t)hash & mask;
    while (s->table[i] != 0) {
        uint32_t at = (uint32_t)s->table[i] - 1;
        if (s->table[i] >> 32 == hash >> 32 && same(s, at, id))
            break;
        i = (i + 1) & mask;
    }
    return i;
}

uint32_t rcd__table_find(const rcd_sessions *s, const struct rcd_session_id *id)
{
    if (s->table_size == 0)
        return RCD__NONE;
    uint64_t e = s->table[slot_of(s, id, rcd__id_hash(id))];
    return e != 0 ? (uint32_t)e - 1 : RCD__NONE;
}

uint32_t rcd__table_guess(const rcd_sessions *s, uint64_t hash)
{
    if (s->table_size == 0)
        return RCD__NONE;
    size_t mask = s->table_size - 1, i = (size_t)hash & mask;
    while (s->table[i] != 0 && s->table[i] >> 32 != hash >> 32)
        i = (i + 1) & mask;
    return (uint32_t)s->table[i] - 1;
}

static uint64_t entry(uint64_t hash, uint32_t at)
{
    return (hash & ~(uint64_t)UINT32_MAX) | (at + 1);
}

static void put(uint64_t *table, size_t size, uint64_t hash, uint32_t at)
{
    size_t i = (size_t)hash & (size - 1);
    while (table[i] != 0)
        i = (i + 1) & (size - 1);
    table[i] = entry(hash, at);
}

bool rcd__table_room(rcd_sessions *s, size_t more)
{
    const size_t n = (size_t)s->records.used + more;
    if (n <= s->table_size / 4 * 3)
        return true;
    size_t size = s->table_size > 0 ? 2 * s->table_size : FIRST_SIZE;
    while (n > size / 4 * 3)
        size *= 2;
    uint64_t *table = rcd_calloc(size, sizeof *table);
    if (table == NULL)
        return false;
    rcd_huge_pages(table, size * sizeof *table);
    for (size_t i = 0; i < s->table_size; i++) {
        if (s->table[i] == 0)
            continue;
        uint32_t at = (uint32_t)s->table[i] - 1;
        struct rcd_session_id id = rcd__record_id(s, rcd__record_at(s, at));
        put(table, size, rcd__id_hash(&id), at);
    }
    rcd_free(s->table);
    s->table = table;
    s->table_size = size;
    return true;
}

void rcd__table_fetch(const rcd_sessions *s, uint64_t hash)
{
    __builtin_prefetch(&s->table[hash & (s->table_size - 1)], 1);
}

bool rcd__table_add(rcd_sessions *s, uint64_t hash, uint32_t at)
{
    const struct rcd_session_id id = rcd__record_id(s, rcd__record_at(s, at));
    uint64_t *slot = &s->table[slot_of(s, &id, hash)];
    if (*slot != 0)
        return false;
    *slot = entry(hash, at);
    return true;
}

void rcd__table_put(rcd_sessions *s, uint64_t hash, uint32_t at)
{
    put(s->table, s->table_size, hash, at);
}

/* Entries behind the hole move up, so that no search ends too early. */
void rcd__table_remove(rcd_sessions *s, const struct rcd_session_id *id)
{
    size_t mask = s->table_size - 1, hole = slot_of(s, id, rcd__id_hash(id));
    RCD_ASSERT(s->table[hole] != 0);
    s->table[hole] = 0;
    for (size_t i = (hole + 1) & mask; s->table[i] != 0; i = (i + 1) & mask) {
        struct rcd_session_id other =
            rcd__record_id(s, rcd__record_at(s, (uint32_t)s->table[i] - 1));
        size_t home = (size_t)rcd__id_hash(&other) & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue; /* its home lies behind the hole */
        s->table[hole] = s->table[i];
        s->table[i] = 0;
        hole = i;
    }
}

const char *rcd__id_text(char out[80], const struct rcd_session_id *id)
{
    if (id->text == NULL)
        snprintf(out, 80, "%llu", (unsigned long long)id->number);
    else
        rcd_quote(out, 72, id->text, id->len);
    return out;
}
