/* router.c - splits and decodes a path and finds its route.
 *
 * A path is cut at '/' first and decoded afterwards, so %2F stays inside its segment. Among the
 * routes that fit, the one whose literals stand further left wins ("/v2/models/stats" before
 * "/v2/models/{model}"), whatever the order of the table. */
#include "http_int.h"

#include <string.h>

struct compiled {
    const struct rcd_route *route;
    char *text; /* [owned] the pattern, cut into segments */
    struct rcd__path path;
    const struct compiled *next; /* with as many segments */
    unsigned params;             /* bit i: segment i is a {name} */
    unsigned literals; /* literal segments, leftmost in the highest bit: larger is more special */
};

struct rcd__router {
    size_t n;
    const struct compiled *of[RCD__SEGMENTS + 1]; /* the first one of so many segments */
    struct compiled route[];
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decode one segment from [*at, '/' or end) to *out; both are moved on. */
static rcd_status decode_segment(const char **at, char **out, struct rcd_error *err)
{
    const char *in = *at;
    char *to = *out;
    for (; *in != '\0' && *in != '/'; in++) {
        unsigned char c = (unsigned char)*in;
        if (c == '%') {
            int high = hex_digit(in[1]);
            int low = high < 0 ? -1 : hex_digit(in[2]);
            if (low < 0)
                return rcd_fail(err, RCD_EINVAL, "path has a malformed percent escape");
            c = (unsigned char)(high * 16 + low);
            in += 2;
        }
        if (c < 0x20 || c == 0x7f)
            return rcd_fail(err, RCD_EINVAL, "path holds the control byte 0x%02x", c);
        *to++ = (char)c;
    }
    *to++ = '\0';
    *at = in;
    *out = to;
    return RCD_OK;
}

rcd_status rcd__path_split(const char *raw, char *scratch, struct rcd__path *ret,
                           struct rcd_error *err)
{
    ret->n = 0;
    if (raw[0] != '/')
        return rcd_fail(err, RCD_EINVAL, "path does not begin with '/'");
    while (*raw == '/') {
        raw++;
        const char *seg = scratch;
        rcd_status st = decode_segment(&raw, &scratch, err);
        if (st != RCD_OK)
            return st;
        if (seg[0] == '\0' && *raw == '\0') /* "/" alone, or one trailing slash */
            break;
        if (ret->n == RCD__SEGMENTS)
            return rcd_fail(err, RCD_ENOTFOUND, "path has more than %d segments", RCD__SEGMENTS);
        ret->seg[ret->n++] = seg;
    }
    return RCD_OK;
}

static bool is_param(const char *seg)
{
    size_t len = strlen(seg);
    return len > 2 && seg[0] == '{' && seg[len - 1] == '}';
}

static rcd_status compile(struct compiled *c, const struct rcd_route *route, struct rcd_error *err)
{
    c->route = route;
    c->text = rcd_alloc(strlen(route->pattern) + 1);
    if (c->text == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for route %s", route->pattern);
    rcd_status st = rcd__path_split(route->pattern, c->text, &c->path, err);
    if (st != RCD_OK)
        return rcd_error_prefix(err, st, "route %s", route->pattern);
    for (unsigned i = 0; i < c->path.n; i++) {
        if (is_param(c->path.seg[i]))
            c->params |= 1u << i;
        else
            c->literals |= 1u << (RCD__SEGMENTS - i);
    }
    return RCD_OK;
}

/* Would both answer the same request with nothing to prefer one? */
static bool ambiguous(const struct compiled *a, const struct compiled *b)
{
    if (a->path.n != b->path.n || a->params != b->params ||
        strcmp(a->route->method, b->route->method) != 0)
        return false;
    for (unsigned i = 0; i < a->path.n; i++)
        if ((a->params >> i & 1u) == 0 && strcmp(a->path.seg[i], b->path.seg[i]) != 0)
            return false;
    return true;
}

rcd_status rcd__router_new(const struct rcd_route *routes, size_t n, struct rcd__router **ret,
                           struct rcd_error *err)
{
    struct rcd__router *r = rcd_calloc(1, sizeof *r + n * sizeof r->route[0]);
    if (r == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for %zu routes", n);
    for (size_t i = 0; i < n; i++) {
        rcd_status st = compile(&r->route[i], &routes[i], err);
        r->n = i + 1;
        for (size_t k = 0; st == RCD_OK && k < i; k++)
            if (ambiguous(&r->route[k], &r->route[i]))
                st = rcd_fail(err, RCD_EINVAL, "route %s %s is given twice", routes[i].method,
                              routes[i].pattern);
        if (st != RCD_OK) {
            rcd__router_free(r);
            return st;
        }
        r->route[i].next = r->of[r->route[i].path.n];
        r->of[r->route[i].path.n] = &r->route[i];
    }
    *ret = r;
    return RCD_OK;
}

void rcd__router_free(struct rcd__router *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->n; i++)
        rcd_free(r->route[i].text);
    rcd_free(r);
}

/* From the end: there the routes differ. */
static bool fits(const struct compiled *c, const struct rcd__path *path)
{
    if (c->path.n != path->n)
        return false;
    for (unsigned i = path->n; i-- > 0;) {
        const char *want = c->path.seg[i], *seg = path->seg[i];
        if ((c->params >> i & 1u) != 0) {
            if (seg[0] == '\0')
                return false;
        } else if (want[0] != seg[0] || strcmp(want, seg) != 0) {
            return false;
        }
    }
    return true;
}

/* Append to the Allow list unless it is there. */
static void allow_add(char *allow, size_t cap, const char *method)
{
    size_t len = strlen(allow);
    size_t m = strlen(method);
    for (const char *p = allow; *p != '\0';) {
        size_t word = strcspn(p, ",");
        if (word == m && memcmp(p, method, m) == 0)
            return;
        p += word;
        p += strspn(p, ", ");
    }
    if (len + m + 3 > cap)
        return;
    snprintf(allow + len, cap - len, "%s%s", len > 0 ? ", " : "", method);
}

/* Why there is no route for the method. */
static rcd_status no_route(const struct rcd__router *r, const struct rcd__path *path, char *allow,
                           size_t allow_cap)
{
    rcd_status why = RCD_ENOTFOUND;
    for (size_t i = 0; i < r->n; i++) {
        const struct compiled *c = &r->route[i];
        if (!fits(c, path))
            continue;
        why = RCD_EMETHOD;
        allow_add(allow, allow_cap, c->route->method);
        if (strcmp(c->route->method, "GET") == 0)
            allow_add(allow, allow_cap, "HEAD");
    }
    return why;
}

const struct rcd_route *rcd__router_find(const struct rcd__router *r, const char *method,
                                         const struct rcd__path *path, rcd_status *ret_why,
                                         char *allow, size_t allow_cap)
{
    const struct compiled *best = NULL;
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    allow[0] = '\0';
    for (const struct compiled *c = r->of[path->n]; c != NULL; c = c->next) {
        if ((best == NULL || c->literals > best->literals) && fits(c, path) &&
            strcmp(c->route->method, method) == 0)
            best = c;
    }
    if (best != NULL)
        return best->route;
    *ret_why = no_route(r, path, allow, allow_cap);
    return NULL;
}

const char *rcd__router_segment(const struct rcd__router *r, const struct rcd_route *route,
                                const struct rcd__path *path, const char *name)
{
    size_t len = strlen(name);
    const struct compiled *c =
        &r->route[route - r->route[0].route]; /* one for each, in their order */
    for (unsigned i = 0; i < c->path.n && i < path->n; i++) {
        const char *seg = c->path.seg[i];
        if ((c->params >> i & 1u) != 0 && strncmp(seg + 1, name, len) == 0 && seg[len + 1] == '}' &&
            seg[len + 2] == '\0')
            return path->seg[i];
    }
    return NULL;
}
