/* portable.c - a session as bytes that another server takes: little-endian, checksummed, and refused where
 * it does not fit. */
#include "sessions_int.h"

#include <string.h>
#include <xxhash.h>

static const char magic[8] = "RCDSESS1";

struct head {
    char magic[8];
    uint64_t fingerprint, layout, steps, state_bytes;
};

rcd_status rcd_session_export(rcd_sessions *s, const struct rcd_session_id *id, struct rcd_buf *out,
                              struct rcd_error *err)
{
    char *state = NULL;
    uint64_t steps = 0;
    rcd_status st = rcd_session_state(s, id, &state, &steps, err);
    if (st != RCD_OK)
        return st;
    struct head h = {.fingerprint = s->fingerprint,
                     .layout = s->layout,
                     .steps = steps,
                     .state_bytes = s->row_bytes};
    memcpy(h.magic, magic, sizeof h.magic);
    size_t from = out->len;
    rcd_buf_append(out, &h, sizeof h);
    rcd_buf_append(out, state, s->row_bytes);
    rcd_free(state);
    if (!out->failed) {
        uint64_t sum = XXH3_64bits(out->data + from, out->len - from);
        rcd_buf_append(out, &sum, sizeof sum);
    }
    if (out->failed)
        return rcd_fail(err, RCD_ENOMEM, "no memory for an exported session");
    return RCD_OK;
}

static rcd_status check(const rcd_sessions *s, const void *bytes, size_t len, bool carry,
                        struct head *ret, struct rcd_error *err)
{
    uint64_t sum = 0;
    if (len < sizeof *ret + sizeof sum)
        return rcd_fail(err, RCD_EINVAL, "%zu bytes are too few for an exported session", len);
    memcpy(ret, bytes, sizeof *ret);
    memcpy(&sum, (const char *)bytes + len - sizeof sum, sizeof sum);
    if (memcmp(ret->magic, magic, sizeof magic) != 0)
        return rcd_fail(err, RCD_EINVAL, "this is not an exported session");
    if (sum != XXH3_64bits(bytes, len - sizeof sum) ||
        ret->state_bytes != len - sizeof *ret - sizeof sum)
        return rcd_fail(err, RCD_EINVAL, "the exported session is damaged: its checksum is wrong");
    if (ret->layout != s->layout || ret->state_bytes != s->row_bytes)
        return rcd_fail(err, RCD_ECONFLICT,
                        "the exported state does not fit model '%s': other names, types or sizes",
                        s->model);
    if (ret->fingerprint != s->fingerprint && !carry)
        return rcd_fail(err, RCD_ECONFLICT,
                        "the exported session is of another model file (%016llx, model '%s' has "
                        "%016llx); its state would fit: carry=true takes it",
                        (unsigned long long)ret->fingerprint, s->model,
                        (unsigned long long)s->fingerprint);
    return RCD_OK;
}

rcd_status rcd_session_import(rcd_sessions *s, const struct rcd_session_id *id, const void *bytes,
                              size_t len, bool carry, unsigned *retry_after_s,
                              struct rcd_error *err)
{
    struct head h = {.steps = 0};
    char text[80];
    rcd_status st = check(s, bytes, len, carry, &h, err);
    if (st != RCD_OK)
        return st;
    uint32_t row = RCD__NONE;
    uint32_t at = RCD__NONE;
    pthread_mutex_lock(&s->lock);
    st = rcd__look_up(s, id, &at, retry_after_s, err);
    if (st == RCD_OK && at != RCD__NONE && rcd__record_at(s, at)->busy)
        st = rcd_fail(err, RCD_ECONFLICT, "session %s of model '%s' has requests queued or running",
                      rcd__id_text(text, id), s->model);
    if (st == RCD_OK)
        st = rcd__row_of(s, (const char *)bytes + sizeof h, NULL, h.steps, &row, err);
    bool made = st == RCD_OK && at == RCD__NONE;
    if (made)
        st = rcd__session_make(s, id, RCD__LIVE, &at, retry_after_s, err);
    if (st == RCD_OK) {
        uint32_t generation = rcd__record_at(s, at)->generation;
        rcd__row_seal(s, row);
        rcd__ring_keep(s, rcd__record_at(s, at), 0);
        st = rcd__put_row(s, at, row, err);
        if (st != RCD_OK && made && rcd__record_at(s, at)->generation == generation)
            rcd__session_remove(s, at, RCD_SESSION_ENDED, "not on disk");
    } else {
        rcd__row_unref(s, row);
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}
