/* image.c - a whole session as bytes for the disk: its times, its state, what it holds on to. */
#include "sessions_int.h"

#include <string.h>
#include <xxhash.h>

struct head {
    uint64_t sum; /* of all that follows, the states' layout in the seed */
    uint64_t layout, last_ms;
    uint32_t created_s, n_states; /* the first is the current one */
};
struct part {
    uint64_t steps, input_hash;
    uint32_t present, answer_len; /* present 0: zeros, no step yet; no state follows */
    uint8_t type, len;
    char name[RCD_SNAPSHOT_NAME_MAX];
    uint64_t state_bytes;
};

/* The id is the key, and a key that changed would be a session that vanished. */
static uint64_t sum_of(const struct rcd_session_id *id, const void *bytes, size_t len)
{
    return XXH3_64bits_withSeed((const char *)bytes + sizeof(uint64_t), len - sizeof(uint64_t),
                                rcd__id_hash(id));
}

bool rcd__image_good(const struct rcd_session_id *id, const void *bytes, size_t len)
{
    struct head h;
    if (len < sizeof h)
        return false;
    memcpy(&h, bytes, sizeof h);
    return h.sum == sum_of(id, bytes, len);
}

static void put(const rcd_sessions *s, uint32_t row, uint8_t type, const struct rcd__extra *x,
                struct rcd_buf *out)
{
    struct part p = {.type = type, .present = row != RCD__NONE, .state_bytes = s->row_bytes};
    const struct rcd__blob *answer = NULL;
    if (x != NULL) {
        p.len = x->len;
        memcpy(p.name, x->name, x->len);
    }
    if (row != RCD__NONE) {
        p.steps = rcd__row_at(s, row)->steps;
        if (rcd__row_at(s, row)->answer != RCD__NONE) {
            answer = rcd__blob_at(s, rcd__row_at(s, row)->answer);
            p.answer_len = answer->len;
            p.input_hash = answer->input_hash;
        }
    }
    rcd_buf_append(out, &p, sizeof p);
    if (row != RCD__NONE)
        rcd_buf_append(out, rcd__row_at(s, row)->state, s->row_bytes);
    if (answer != NULL)
        rcd_buf_append(out, answer->data, answer->len);
}

/* With a state that is not published yet, what is now behind it: the ring as it will be. */
static void put_extras(const rcd_sessions *s, const struct rcd__record *r, uint32_t row,
                       uint32_t *n, struct rcd_buf *out)
{
    const struct rcd__use *u = r->busy ? &s->uses[r->prev] : NULL;
    bool ahead = u != NULL && u->pending != RCD__NONE && u->pending == row;
    unsigned ring = 0, most = !ahead ? UINT32_MAX : u->starts ? 0 : s->opts.ring;
    if (ahead && most > 0) {
        put(s, r->row, RCD__EXTRA_RING, NULL, out);
        ring++;
        ++*n;
    }
    for (uint32_t i = r->extras; i != RCD__NONE;) {
        const struct rcd__extra *x = rcd__slab_at(&s->extras, i);
        i = x->next;
        if (x->type == RCD__EXTRA_RING && ring++ >= most)
            continue;
        put(s, x->row, x->type, x, out);
        ++*n;
    }
}

rcd_status rcd__image_put(const rcd_sessions *s, const struct rcd__record *r, uint32_t row,
                          struct rcd_buf *out, struct rcd_error *err)
{
    struct head h = {.layout = s->layout, .last_ms = rcd__last_of(r), .created_s = r->created_s};
    size_t from = out->len;
    rcd_buf_append(out, &h, sizeof h);
    put(s, row, 0, NULL, out);
    h.n_states = 1;
    put_extras(s, r, row, &h.n_states, out);
    if (out->failed)
        return rcd_fail(err, RCD_ENOMEM, "no memory to write a session");
    memcpy(out->data + from, &h, sizeof h);
    struct rcd_session_id id = rcd__record_id(s, r);
    h.sum = sum_of(&id, out->data + from, out->len - from);
    memcpy(out->data + from, &h, sizeof h);
    return RCD_OK;
}

static rcd_status take(rcd_sessions *s, const char **at, const char *end, struct part *p,
                       uint32_t *ret, struct rcd_error *err)
{
    *ret = RCD__NONE;
    if ((size_t)(end - *at) < sizeof *p)
        return rcd_fail(err, RCD_EIO, "a stored session is cut short");
    memcpy(p, *at, sizeof *p);
    *at += sizeof *p;
    if (p->present == 0)
        return RCD_OK;
    if (p->state_bytes != s->row_bytes || (size_t)(end - *at) < s->row_bytes + p->answer_len ||
        p->len > RCD_SNAPSHOT_NAME_MAX)
        return rcd_fail(err, RCD_EIO, "a stored session is of another shape");
    rcd_status st = rcd__row_of(s, *at, NULL, p->steps, ret, err);
    *at += s->row_bytes;
    if (st == RCD_OK && p->answer_len > 0)
        st =
            rcd__blob_new(s, *at, p->answer_len, p->input_hash, &rcd__row_at(s, *ret)->answer, err);
    *at += p->answer_len;
    if (st == RCD_OK)
        rcd__row_seal(s, *ret);
    return st;
}

static rcd_status take_extra(rcd_sessions *s, struct rcd__record *r, uint32_t *link,
                             const struct part *p, uint32_t row, struct rcd_error *err)
{
    bool full = false;
    uint32_t at = rcd__slab_take(&s->extras, &full);
    if (at == RCD__NONE) {
        rcd__row_unref(s, row);
        return rcd_fail(err, RCD_ENOMEM, "no memory for a session's snapshots");
    }
    struct rcd__extra *x = rcd__slab_at(&s->extras, at);
    *x = (struct rcd__extra){.next = RCD__NONE, .row = row, .type = p->type, .len = p->len};
    memcpy(x->name, p->name, p->len);
    x->tag = rcd__extra_tag(r, x);
    if (p->type == RCD__EXTRA_SNAPSHOT)
        rcd__charge_anyway(s, s->rows.item + sizeof *x);
    if (*link == RCD__NONE)
        r->extras = at;
    else
        ((struct rcd__extra *)rcd__slab_at(&s->extras, *link))->next = at;
    *link = at;
    return RCD_OK;
}

bool rcd__image_look(const void *bytes, size_t len, struct rcd__image_about *ret)
{
    struct head h;
    struct part p;
    if (len < sizeof h + sizeof p)
        return false;
    memcpy(&h, bytes, sizeof h);
    memcpy(&p, (const char *)bytes + sizeof h, sizeof p);
    *ret = (struct rcd__image_about){
        .last_ms = h.last_ms, .created_ms = (uint64_t)h.created_s * 1000, .steps = p.steps};
    return true;
}

rcd_status rcd__image_take(rcd_sessions *s, const struct rcd_session_id *id,
                           const struct rcd_buf *image, uint32_t *ret, unsigned *retry_after_s,
                           struct rcd_error *err)
{
    const char *at = image->data + sizeof(struct head), *end = image->data + image->len;
    struct head h;
    struct part p = {.steps = 0};
    uint32_t row = RCD__NONE, link = RCD__NONE;
    if (!rcd__image_good(id, image->data, image->len))
        return rcd_fail(err, RCD_EIO, "model '%s': a stored session is damaged", s->model);
    memcpy(&h, image->data, sizeof h);
    if (h.layout != s->layout)
        return rcd_fail(err, RCD_EIO, "model '%s': a stored session is of another shape", s->model);
    rcd_status st = rcd__session_make(s, id, RCD__PENDING, ret, retry_after_s, err);
    if (st != RCD_OK)
        return st;
    struct rcd__record *r = rcd__record_at(s, *ret);
    for (uint32_t i = 0; st == RCD_OK && i < h.n_states; i++) {
        st = take(s, &at, end, &p, &row, err);
        if (st != RCD_OK)
            rcd__row_unref(s, row);
        else if (i == 0)
            rcd__publish(s, r, row);
        else
            st = take_extra(s, r, &link, &p, row, err);
    }
    if (st != RCD_OK) {
        rcd__session_remove(s, *ret, RCD_SESSION_ENDED, "");
        return st;
    }
    rcd__touch(r, h.last_ms);
    r->created_s = h.created_s;
    r->sum = rcd__record_sum(r);
    rcd__record_point(r, r->row, RCD__LIVE);
    return RCD_OK;
}
