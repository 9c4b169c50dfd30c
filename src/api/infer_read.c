/* infer_read.c - large bodies for models with states, on registered graphs, and graphs as JSON objects. What they are
 * for must be known on the loop, but reading them there would hold everybody. So a helper thread reads the
 * body, and the request counts as arrived when it has been read; large ones of one model keep their order. */
#include "apart.h"
#include "infer_int.h"

enum { LARGE = 128 << 10, LARGE_PACKED = 16 << 10 };

struct reading {
    struct rcd__apart apart;
    struct rcd__infer *x;
    rcd__infer_go *go;
    struct rcd_error err;
};

static struct reading *reading_of(struct rcd__apart *a)
{
    return (struct reading *)(void *)a;
}

static void run(struct rcd__apart *a)
{
    struct reading *r = reading_of(a);
    r->err.code = rcd__infer_read(r->x, &r->err);
}

static bool behind(const struct rcd__apart *a, const struct rcd__apart *earlier)
{
    (void)a;
    (void)earlier;
    return true;
}

static void go_on(struct rcd__apart *a)
{
    struct reading *r = reading_of(a);
    r->go(r->x, &r->err);
    rcd_free(r);
}

bool rcd__infer_read_apart(struct rcd__infer *x, rcd__infer_go *go)
{
    size_t len = 0;
    (void)rcd_http_body(x->req, &len);
    if (len <= (x->coding_in != RCD_CODING_IDENTITY ? (size_t)LARGE_PACKED : (size_t)LARGE))
        return false;
    struct reading *r = rcd_calloc(1, sizeof *r);
    if (r == NULL)
        return false; /* the loop can do it, too */
    r->apart = (struct rcd__apart){
        .model = rcd_version_model(x->version), .run = run, .behind = behind, .go = go_on};
    r->x = x;
    r->go = go;
    if (rcd__apart_begin(x->api, &r->apart))
        return true;
    rcd_free(r);
    return false;
}
