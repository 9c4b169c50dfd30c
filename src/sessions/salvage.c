/* salvage.c - reads LMDB's file without LMDB, believing nothing in it: what is whole in a damaged file is
 * found by going down the tree page by page, and a page that cannot be read costs what is below it.
 *
 * The format (data version 1): pages of one size; a head of 16 bytes with the page's number, flags, and
 * where its list of nodes ends; nodes with a key and a value, or the number of a page. Pages 0 and 1 say
 * where the two trees begin, the one of free pages and ours; the one with the higher transaction counts. */
#include "sessions_int.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LMDB_MAGIC 0xBEEFC0DEu
enum { HEAD = 16, NODE = 8, DEPTH_MAX = 24, VERSION = 1 };
enum { IS_BRANCH = 1, IS_LEAF = 2, IS_META = 8, IS_BIG = 1 };

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

struct reader {
    const char *base;
    size_t bytes, page_size, n_pages;
    uint8_t *seen; /* pages that belong to something */
    size_t entries;
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
    r->bad = r->bad || !good;
    return good;
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
    if (big) {
        uint64_t page = u64(value);
        if (!use(r, page, (HEAD + len + r->page_size - 1) / r->page_size))
            return;
        value = r->base + page * r->page_size + HEAD;
    }
    each(r, key, key_len, value, len);
}

static void walk(struct reader *r, uint64_t root, each_node *each)
{
    struct {
        uint64_t page;
        size_t next;
    } path[DEPTH_MAX];
    size_t depth = 0;
    path[depth++] = (__typeof__(path[0])){.page = root};
    if (!use(r, root, 1))
        return;
    while (depth > 0) {
        const char *page = r->base + path[depth - 1].page * r->page_size;
        size_t end = u16(page + 12), i = path[depth - 1].next++;
        unsigned flags = u16(page + 10);
        bool sane = u64(page) == path[depth - 1].page && end >= HEAD && end <= r->page_size &&
                    (flags == IS_BRANCH || flags == IS_LEAF);
        r->bad = r->bad || !sane;
        if (!sane || i >= (end - HEAD) / 2) {
            depth--;
            continue;
        }
        size_t at = u16(page + HEAD + 2 * i);
        if (at < HEAD || at + NODE > r->page_size) {
            r->bad = true;
        } else if (flags == IS_LEAF) {
            r->entries++;
            leaf(r, page + at, r->page_size - at - NODE, each);
        } else {
            uint64_t below = u16(page + at) | (uint64_t)u16(page + at + 2) << 16 |
                             (uint64_t)u16(page + at + 4) << 32;
            if (depth == DEPTH_MAX)
                r->bad = true;
            else if (use(r, below, 1))
                path[depth++] = (__typeof__(path[0])){.page = below};
        }
    }
}

static void free_pages(struct reader *r, const char *key, size_t key_len, const char *value,
                       size_t len)
{
    (void)key;
    (void)key_len;
    uint64_t n = len >= sizeof n ? u64(value) : UINT64_MAX;
    if (n > len / sizeof n - 1) {
        r->bad = true;
        return;
    }
    for (uint64_t i = 1; i <= n; i++)
        (void)use(r, u64(value + i * sizeof n), 1);
}

static void session(struct reader *r, const char *key, size_t key_len, const char *value,
                    size_t len)
{
    r->bad = !r->found(r->ctx, key, key_len, value, len) || r->bad;
}

/* The newer of the two; the other is of the transaction before it. */
static bool newest(struct reader *r, struct meta *ret)
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
        good[i] = u16(r->base + at + 10) == IS_META && m[i].magic == LMDB_MAGIC &&
                  (m[i].version & 0xff) == VERSION && size >= 512 && size <= 65536 &&
                  (size & (size - 1)) == 0;
    }
    r->bad = !good[0] || !good[1] || m[0].trees[0].page_size != m[1].trees[0].page_size ||
             m[0].txn + 1 < m[1].txn || m[1].txn + 1 < m[0].txn;
    if (!good[0] && !good[1])
        return false;
    size_t which = !good[0] || (good[1] && m[1].txn > m[0].txn);
    *ret = m[which];
    r->page_size = ret->trees[0].page_size;
    r->n_pages = r->bytes / r->page_size;
    return true;
}

static void read_trees(struct reader *r)
{
    struct meta m;
    if (!newest(r, &m) || (r->seen = rcd_calloc(r->n_pages + 1, 1)) == NULL) {
        r->bad = true;
        return;
    }
    if (m.trees[1].root != UINT64_MAX)
        walk(r, m.trees[1].root, session);
    r->bad = r->bad || r->entries != m.trees[1].entries;
    if (m.trees[0].root != UINT64_MAX)
        walk(r, m.trees[0].root, free_pages);
    rcd_free(r->seen);
}

bool rcd__salvage(const char *path, rcd__salvage_found *found, void *ctx)
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
        }
    }
    if (fd >= 0)
        close(fd);
    return !r.bad;
}
