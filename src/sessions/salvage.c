/* salvage.c - reads LMDB's file without LMDB, believing nothing in it: what is whole in a damaged file is
 * found by going down the tree page by page, and a page that cannot be read costs what is below it.
 *
 * The format (data version 1): pages of one size; a head of 16 bytes with the page's number, flags, and
 * where its list of nodes ends and its nodes begin; nodes with a key and a value, or the number of a page.
 * Pages 0 and 1 say where the two trees begin, the one of free pages and ours; the one with the higher
 * transaction counts.
 *
 * A file is sound when LMDB, which trusts all of this, finds in it what was written: nodes fill their page
 * without a gap, keys and those that lead to them are in order, every page belongs to one thing, what is
 * counted is so many, and our own record of the transaction (struct rcd__tally) agrees, for both of the two
 * that pages 0 and 1 speak of: so neither can pose as the newer one. */
#include "sessions_int.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LMDB_MAGIC 0xBEEFC0DEu
enum { HEAD = 16, NODE = 8, DEPTH_MAX = 24, VERSION = 1, PAGE_MIN = 512, PAGE_MAX = 32768 };
enum { NEVER_WRITTEN = 1 << 16 };
enum { IS_BRANCH = 1, IS_LEAF = 2, IS_RUN = 4, IS_META = 8, IS_BIG = 1 };
enum { NUMBERS_AS_KEYS = 8, ONE_FILE = 0x4000 }; /* flags of the first tree, and of the file */

/* Behind the head of pages 0 and 1. */
struct tree {
    uint32_t page_size; /* of the first tree's */
    uint16_t flags, depth;
    uint64_t branches, leaves, big, entries, root;
};
struct meta {
    uint32_t magic, version;
    uint64_t address, map_size;
    struct tree trees[2];
    uint64_t last_page, txn;
};

struct key {
    const char *bytes;
    size_t len;
};

struct reader {
    const char *base;
    size_t bytes, page_size, n_pages, in_file; /* pages at the end that are free may not be there */
    uint8_t *seen;                             /* pages that belong to something */
    uint8_t *room;                             /* of the page's pairs of bytes */
    struct tree found_tree;
    size_t used;       /* pages */
    struct key before; /* the last key of the tree that is being read */
    bool any, leads;   /* there is one; it only leads to others */
    bool numbers;      /* keys are */
    struct rcd__tally is, said;
    bool has_said;
    bool bad;
    rcd__salvage_found *found;
    void *ctx;
};

typedef void each_node(struct reader *r, const char *key, size_t key_len, const char *value,
                       size_t len);

static uint16_t u16(const char *p)
{
    uint16_t v = 0;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t u64(const char *p)
{
    uint64_t v = 0;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Pages that are used twice would be overwritten by somebody. */
static bool use(struct reader *r, uint64_t page, size_t n)
{
    bool good = page >= 2 && n > 0 && n <= r->n_pages && page <= r->n_pages - n;
    for (size_t i = 0; good && i < n; i++)
        good = r->seen[page + i]++ == 0;
    r->used += n;
    r->bad = r->bad || !good;
    return good;
}

static bool use_in_file(struct reader *r, uint64_t page, size_t n)
{
    bool there = n <= r->in_file && page <= r->in_file - n;
    r->bad = r->bad || !there;
    return there && use(r, page, n);
}

static size_t even(size_t n)
{
    return (n + 1) & ~(size_t)1;
}

static size_t value_bytes(const char *node)
{
    return (u16(node + 4) & IS_BIG) != 0 ? sizeof(uint64_t)
                                         : u16(node) | (size_t)u16(node + 2) << 16;
}

/* Its nodes and nothing else are between `upper` and the end, once each: LMDB moves them as a block. */
static bool filled(struct reader *r, const char *page)
{
    size_t lower = u16(page + 12), upper = u16(page + 14), sum = 0;
    bool leaf = u16(page + 10) == IS_LEAF;
    if (lower % 2 != 0 || upper < lower || upper > r->page_size)
        return false;
    memset(r->room, 0, r->page_size / 2);
    for (size_t i = HEAD; i < lower; i += 2) {
        size_t at = u16(page + i);
        if (at < upper || at % 2 != 0 || at + NODE > r->page_size)
            return false;
        const char *node = page + at;
        size_t len = even(NODE + u16(node + 6) + (leaf ? value_bytes(node) : 0));
        if (len > r->page_size - at || (leaf && u16(node + 4) > IS_BIG))
            return false;
        for (size_t k = at / 2; k < (at + len) / 2; k++) {
            if (r->room[k]++ != 0)
                return false;
        }
        sum += len;
    }
    return sum == r->page_size - upper;
}

static int compare(const struct reader *r, const struct key *a, const struct key *b)
{
    if (r->numbers && a->len == sizeof(uint64_t) && b->len == sizeof(uint64_t))
        return u64(a->bytes) < u64(b->bytes) ? -1 : u64(a->bytes) > u64(b->bytes);
    size_t n = a->len < b->len ? a->len : b->len;
    int c = n > 0 ? memcmp(a->bytes, b->bytes, n) : 0;
    return c != 0 ? c : a->len < b->len ? -1 : a->len > b->len;
}

/* A search ends at the right leaf only when what leads there is above all before and not above what
 * follows. */
static void in_order(struct reader *r, const char *bytes, size_t len, bool leads)
{
    struct key key = {bytes, len};
    int c = r->any ? compare(r, &r->before, &key) : -1;
    r->bad = r->bad || len == 0 || c > 0 || (c == 0 && !(r->leads && !leads));
    r->before = key;
    r->any = true;
    r->leads = leads;
}

static void leaf(struct reader *r, const char *node, size_t room, each_node *each)
{
    size_t key_len = u16(node + 6), len = u16(node) | (size_t)u16(node + 2) << 16;
    const char *key = node + NODE, *value = key + key_len;
    bool big = (u16(node + 4) & IS_BIG) != 0;
    if (key_len + (big ? sizeof(uint64_t) : len) > room) {
        r->bad = true;
        return;
    }
    in_order(r, key, key_len, false);
    if (big) {
        uint64_t page = u64(value);
        size_t need = (HEAD + len + r->page_size - 1) / r->page_size;
        const char *first = r->base + page * r->page_size;
        if (page < 2 || need > r->in_file || page > r->in_file - need) {
            r->bad = true;
            return;
        }
        uint32_t n = u16(first + 12) | (uint32_t)u16(first + 14) << 16;
        bool sane = u64(first) == page && u16(first + 10) == IS_RUN && n >= need;
        r->bad = r->bad || !sane;
        r->found_tree.big += sane ? n : need;
        if (!use_in_file(r, page, sane ? n : need))
            return;
        value = first + HEAD;
    }
    each(r, key, key_len, value, len);
}

static void walk(struct reader *r, const struct tree *t, each_node *each)
{
    struct {
        uint64_t page;
        size_t next;
    } path[DEPTH_MAX];
    size_t depth = 0, deepest = 0;
    r->any = false;
    r->found_tree = (struct tree){.root = t->root};
    if (t->root != UINT64_MAX && use_in_file(r, t->root, 1))
        path[depth++] = (__typeof__(path[0])){.page = t->root};
    while (depth > 0) {
        const char *page = r->base + path[depth - 1].page * r->page_size;
        size_t end = u16(page + 12), i = path[depth - 1].next++;
        unsigned flags = u16(page + 10);
        deepest = depth > deepest ? depth : deepest;
        bool sane = u64(page) == path[depth - 1].page && end > HEAD && end <= r->page_size &&
                    (flags == IS_BRANCH || flags == IS_LEAF);
        r->bad = r->bad || !sane || (i == 0 && !filled(r, page));
        r->found_tree.leaves += i == 0 && flags == IS_LEAF;
        r->found_tree.branches += i == 0 && flags == IS_BRANCH;
        if (!sane || i >= (end - HEAD) / 2) {
            depth--;
            continue;
        }
        size_t at = u16(page + HEAD + 2 * i);
        if (at < HEAD || at + NODE > r->page_size) {
            r->bad = true;
        } else if (flags == IS_LEAF) {
            r->found_tree.entries++;
            r->bad = r->bad || depth != t->depth;
            leaf(r, page + at, r->page_size - at - NODE, each);
        } else {
            uint64_t below = u16(page + at) | (uint64_t)u16(page + at + 2) << 16 |
                             (uint64_t)u16(page + at + 4) << 32;
            if (i > 0 && at + NODE + u16(page + at + 6) <= r->page_size)
                in_order(r, page + at + NODE, u16(page + at + 6), true);
            if (depth == DEPTH_MAX)
                r->bad = true;
            else if (use_in_file(r, below, 1))
                path[depth++] = (__typeof__(path[0])){.page = below};
        }
    }
    const struct tree *f = &r->found_tree;
    r->bad = r->bad || f->entries != t->entries || f->leaves != t->leaves ||
             f->branches != t->branches || f->big != t->big || deepest != t->depth;
}

static void free_pages(struct reader *r, const char *key, size_t key_len, const char *value,
                       size_t len)
{
    (void)key;
    uint64_t n = len >= sizeof n ? u64(value) : UINT64_MAX;
    if (key_len != sizeof(uint64_t) || n > len / sizeof n - 1) {
        r->bad = true;
        return;
    }
    for (uint64_t i = 1; i <= n; i++) {
        uint64_t page = u64(value + i * sizeof n);
        r->bad = r->bad || (i > 1 && page >= u64(value + (i - 1) * sizeof n)); /* they fall */
        (void)use(r, page, 1);
    }
}

static bool is_tally(const char *key, size_t key_len, size_t len)
{
    return key_len == 1 && key[0] == RCD__TALLY_KEY && len == sizeof(struct rcd__tally);
}

static void session(struct reader *r, const char *key, size_t key_len, const char *value,
                    size_t len)
{
    if (is_tally(key, key_len, len)) {
        memcpy(&r->said, value, sizeof r->said);
        r->has_said = true;
        return;
    }
    r->is.count++;
    r->is.sum += len >= sizeof(uint64_t) ? u64(value) : 0;
    r->bad = !r->found(r->ctx, key, key_len, value, len) || r->bad;
}

/* The transaction that the tree's own record tells, which is the first of its keys; 0: it has none. */
static uint64_t first_txn(const struct reader *r, uint64_t root)
{
    uint64_t at = root;
    for (size_t depth = 0; depth < DEPTH_MAX && at >= 2 && at < r->in_file; depth++) {
        const char *page = r->base + at * r->page_size;
        size_t node = u16(page + HEAD);
        if (u64(page) != at || u16(page + 12) < HEAD + 2 || node + NODE > r->page_size)
            return 0;
        const char *p = page + node;
        if (u16(page + 10) == IS_LEAF) {
            struct rcd__tally t = {.txn = 0};
            if (node + NODE + 1 + sizeof t > r->page_size ||
                !is_tally(p + NODE, u16(p + 6), value_bytes(p)))
                return 0;
            memcpy(&t, p + NODE + 1, sizeof t);
            return t.txn;
        }
        at = u16(p) | (uint64_t)u16(p + 2) << 16 | (uint64_t)u16(p + 4) << 32;
    }
    return 0;
}

/* A page says what LMDB itself would have written there. */
static bool meta_sound(const struct meta *m, size_t i)
{
    bool none = m->trees[1].root == UINT64_MAX;
    return m->trees[0].flags == (NUMBERS_AS_KEYS | ONE_FILE) && m->trees[1].flags == 0 &&
           m->trees[1].page_size == 0 && (m->txn == 0 ? none : !none && m->txn % 2 == i);
}

/* The newer of the two; the other is of the transaction before it. */
static bool newest(struct reader *r, struct meta *ret, struct meta *ret_other)
{
    struct meta m[2];
    bool good[2];
    size_t size = 0;
    for (size_t i = 0; i < 2; i++) {
        size_t at = i == 0 || size == 0 ? i * 4096 : size;
        good[i] = at + HEAD + sizeof m[0] <= r->bytes;
        if (!good[i])
            continue;
        memcpy(&m[i], r->base + at + HEAD, sizeof m[i]);
        size = m[i].trees[0].page_size;
        good[i] = u16(r->base + at + 10) == IS_META && u64(r->base + at) == i &&
                  m[i].magic == LMDB_MAGIC && m[i].version == VERSION && size >= PAGE_MIN &&
                  size <= PAGE_MAX && (size & (size - 1)) == 0;
    }
    r->bad = !good[0] || !good[1] || m[0].trees[0].page_size != m[1].trees[0].page_size ||
             m[0].txn + 1 < m[1].txn || m[1].txn + 1 < m[0].txn || !meta_sound(&m[0], 0) ||
             !meta_sound(&m[1], 1);
    if (!good[0] && !good[1])
        return false;
    size_t which = !good[0] || (good[1] && m[1].txn > m[0].txn);
    *ret = m[which];
    *ret_other = m[good[1 - which] ? 1 - which : which];
    r->page_size = ret->trees[0].page_size;
    r->in_file = r->bytes / r->page_size;
    r->bad = r->bad || ret->last_page < 1 || ret->last_page > r->in_file + NEVER_WRITTEN;
    r->n_pages = r->bad ? r->in_file : (size_t)ret->last_page + 1;
    if (r->in_file > r->n_pages)
        r->in_file = r->n_pages; /* what is behind it was never finished */
    return true;
}

static void read_trees(struct reader *r)
{
    struct meta m, other;
    if (!newest(r, &m, &other) || (r->seen = rcd_calloc(r->n_pages + 1, 1)) == NULL ||
        (r->room = rcd_alloc(r->page_size)) == NULL) {
        r->bad = true;
        return;
    }
    walk(r, &m.trees[1], session);
    r->numbers = true;
    walk(r, &m.trees[0], free_pages);
    /* every page that was ever used belongs to something */
    r->bad = r->bad || r->used + 2 != r->n_pages;
    r->is.txn = m.txn;
    r->bad = r->bad || r->has_said != (m.txn > 0) ||
             (r->has_said && memcmp(&r->is, &r->said, sizeof r->is) != 0) ||
             (other.txn > 0 && first_txn(r, other.trees[1].root) != other.txn);
}

bool rcd__salvage(const char *path, rcd__salvage_found *found, void *ctx, struct rcd__tally *ret)
{
    struct reader r = {.found = found, .ctx = ctx, .bad = true};
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0) {
        r.bytes = (size_t)about.st_size;
        char *map = mmap(NULL, r.bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map != MAP_FAILED) {
            r.base = map;
            read_trees(&r);
            munmap(map, r.bytes);
            rcd_free(r.seen);
            rcd_free(r.room);
        }
    }
    if (fd >= 0)
        close(fd);
    *ret = r.is;
    return !r.bad;
}
