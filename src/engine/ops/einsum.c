/* einsum.c - Einsum: sums of products over named axes, any number of inputs.
 *
 * The equation is read at load; "..." takes the names that are left in front. Each output element is one chain
 * of additions over the summed axes in order; the loop inside runs over the output's last axis. */
#include "ops.h"

#include <string.h>

enum { MAX_INPUTS = 8, MAX_NAMES = 52, MAX_LABELS = MAX_NAMES + RCD_MAX_RANK, ELLIPSIS = -1 };

/* Labels of one input or of the output; ELLIPSIS stands for some axes. */
struct term {
    int n;
    int label[RCD_MAX_RANK + 1];
};

struct state {
    size_t n_in;
    struct term in[MAX_INPUTS], out;
};

static rcd_status read_term(struct rcd_check *k, const char **at, struct term *t)
{
    for (const char *p = *at;; p++) {
        int label = ELLIPSIS;
        *at = p;
        if (*p == ' ')
            continue;
        if (*p == '\0' || *p == ',' || (*p == '-' && p[1] == '>'))
            return RCD_OK;
        if (*p == '.' && p[1] == '.' && p[2] == '.')
            p += 2;
        else if (*p >= 'a' && *p <= 'z')
            label = *p - 'a';
        else if (*p >= 'A' && *p <= 'Z')
            label = *p - 'A' + 26;
        else
            return rcd__refuse(k, "the equation has '%c', want letters, commas, ... and ->", *p);
        for (int i = 0; label == ELLIPSIS && i < t->n; i++) {
            if (t->label[i] == ELLIPSIS)
                return rcd__refuse(k, "two ellipses in one term");
        }
        if (t->n > RCD_MAX_RANK)
            return rcd__refuse(k, "a term of the equation has more than %d axes", RCD_MAX_RANK);
        t->label[t->n++] = label;
    }
}

static int count(const struct state *s, int label)
{
    int n = 0;
    for (size_t i = 0; i < s->n_in; i++) {
        for (int d = 0; d < s->in[i].n; d++)
            n += s->in[i].label[d] == label;
    }
    return n;
}

/* Without "->": the ellipsis, then every name that is there once, in the order of the alphabet (capitals first). */
static rcd_status implied(struct rcd_check *k, struct state *s)
{
    if (count(s, ELLIPSIS) > 0)
        s->out.label[s->out.n++] = ELLIPSIS;
    for (int i = 0; i < MAX_NAMES; i++) {
        const int label = (i + 26) % MAX_NAMES;
        if (count(s, label) != 1)
            continue;
        if (s->out.n > RCD_MAX_RANK)
            return rcd__refuse(k, "the output has more than %d axes", RCD_MAX_RANK);
        s->out.label[s->out.n++] = label;
    }
    return RCD_OK;
}

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    const char *at = NULL;
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 1, MAX_INPUTS, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_string(k, "equation", NULL, &at);
    if (st == RCD_OK && at == NULL)
        return rcd__refuse(k, "attribute 'equation' is missing");
    for (size_t i = 0; st == RCD_OK && i < k->node->n_in; i++) {
        if (i > 0 && *at++ != ',')
            return rcd__refuse(k, "the equation has %zu terms for %zu inputs", i, k->node->n_in);
        if (!rcd__has_in(k, i))
            return rcd__refuse(k, "input %zu is left out", i);
        st = read_term(k, &at, &s->in[s->n_in++]);
        if (st == RCD_OK)
            st = rcd__check_type(k, i,
                                 RCD_TS_FLOAT | RCD_TS_INDEX | RCD_T(RCD_U32) | RCD_T(RCD_U64));
        if (st == RCD_OK)
            st = rcd__check_same(k, 0, i);
    }
    if (st == RCD_OK && *at == '-') {
        at += 2;
        st = read_term(k, &at, &s->out);
    } else if (st == RCD_OK) {
        st = implied(k, s);
    }
    if (st == RCD_OK && *at != '\0')
        return rcd__refuse(k, "the equation goes on with \"%.20s\" after %zu inputs", at, s->n_in);
    for (int d = 0; st == RCD_OK && d < s->out.n; d++) {
        if (s->out.label[d] != ELLIPSIS && count(s, s->out.label[d]) == 0)
            return rcd__refuse(k, "axis %d of the output is in no input", d);
        for (int e = 0; e < d; e++) {
            if (s->out.label[d] == s->out.label[e])
                return rcd__refuse(k, "axes %d and %d of the output have one name", e, d);
        }
    }
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

/* The loops: output axes in order, then summed ones. Strides in elements, per input. */
struct loops {
    int n_out, n;
    int64_t dims[MAX_LABELS];
    int64_t stride[MAX_INPUTS][MAX_LABELS];
};

struct sizes {
    int64_t of[MAX_LABELS]; /* 0: not seen yet is told by `seen` */
    bool seen[MAX_LABELS];
    int64_t stride[MAX_INPUTS][MAX_LABELS]; /* summed over repeated names: the diagonal */
    int dots;                               /* axes that the ellipsis stands for, at most */
};

/* Axis d of a term as a label; ellipsis axes are MAX_NAMES.., aligned at their end. */
static int label_at(const struct term *t, int rank, int dots, int axis)
{
    const int spread = rank - (t->n - 1); /* axes of the ellipsis, if there is one */
    int at = 0;
    for (int i = 0; i < t->n; i++) {
        const int width = t->label[i] == ELLIPSIS ? spread : 1;
        if (axis < at + width) {
            return t->label[i] == ELLIPSIS ? MAX_NAMES + dots - spread + (axis - at) : t->label[i];
        }
        at += width;
    }
    return -1;
}

static rcd_status measure(const struct rcd_call *c, size_t r, const struct state *s,
                          struct sizes *z)
{
    for (size_t i = 0; i < s->n_in; i++) {
        bool dots = false;
        for (int d = 0; d < s->in[i].n; d++)
            dots = dots || s->in[i].label[d] == ELLIPSIS;
        const int rank = rcd__in(c, i, r)->rank, names = s->in[i].n - dots;
        if (dots ? rank < names : rank != names)
            return rcd__fail(c, r, RCD_EINVAL, "input %zu has %d axes, the equation names %d", i,
                             rank, names);
        z->dots = dots && rank - names > z->dots ? rank - names : z->dots;
    }
    for (size_t i = 0; i < s->n_in; i++) {
        const struct rcd_tensor *x = rcd__in(c, i, r);
        int64_t step = 1;
        for (int d = x->rank - 1; d >= 0; d--) {
            const int label = label_at(&s->in[i], x->rank, z->dots, d);
            const int64_t size = x->dims[d];
            if (z->seen[label] && z->of[label] != size && z->of[label] != 1 && size != 1)
                return rcd__fail(
                    c, r, RCD_EINVAL,
                    "axis %d of input %zu has size %lld, the same name had %lld before", d, i,
                    (long long)size, (long long)z->of[label]);
            if (!z->seen[label] || z->of[label] == 1)
                z->of[label] = size;
            z->seen[label] = true;
            if (size != 1)
                z->stride[i][label] += step;
            step *= size;
        }
    }
    return RCD_OK;
}

static void add_loop(const struct state *s, const struct sizes *z, struct loops *l, int label)
{
    l->dims[l->n] = z->of[label];
    for (size_t i = 0; i < s->n_in; i++)
        l->stride[i][l->n] = z->stride[i][label];
    l->n++;
}

static void plan_loops(const struct state *s, const struct sizes *z, struct loops *l)
{
    bool out[MAX_LABELS] = {false};
    for (int d = 0; d < s->out.n; d++) {
        const int first = s->out.label[d] == ELLIPSIS ? MAX_NAMES : s->out.label[d];
        const int last = s->out.label[d] == ELLIPSIS ? MAX_NAMES + z->dots : first + 1;
        for (int label = first; label < last; label++) {
            out[label] = true;
            add_loop(s, z, l, label);
        }
    }
    l->n_out = l->n;
    for (int label = 0; label < MAX_LABELS; label++) {
        if (z->seen[label] && !out[label])
            add_loop(s, z, l, label);
    }
}

/* o[j] += a[j * step] * b[j * step] ... for one place along the summed axes */
#define ADD_PRODUCTS(S, T, U)                                                                      \
    case RCD_##S:                                                                                  \
        for (size_t j = 0; j < n; j++) {                                                           \
            T v = ((const T *)in[0])[(int64_t)j * step[0]];                                        \
            for (size_t i = 1; i < n_in; i++)                                                      \
                v = (T)(v * ((const T *)in[i])[(int64_t)j * step[i]]);                             \
            ((T *)o)[j] = (T)(((T *)o)[j] + v);                                                    \
        }                                                                                          \
        break;

static void add_products(rcd_dtype t, void *o, size_t n, size_t n_in, const void *const *in,
                         const int64_t *step)
{
    switch (t) {
        ADD_PRODUCTS(F32, float, float)
        ADD_PRODUCTS(F64, double, double)
        ADD_PRODUCTS(I32, uint32_t, uint32_t) /* wraps as two's complement, as do all below */
        ADD_PRODUCTS(I64, uint64_t, uint64_t)
        ADD_PRODUCTS(U32, uint32_t, uint32_t)
        ADD_PRODUCTS(U64, uint64_t, uint64_t)
    default:
        RCD_ASSERT(!"checked at load");
    }
}

/* Step the places of loops [from, to) as an odometer; false: all the way round. */
static bool next(const struct loops *l, size_t n_in, int from, int to, int64_t *at, int64_t *offset)
{
    for (int d = to - 1; d >= from; d--) {
        for (size_t i = 0; i < n_in; i++)
            offset[i] += l->stride[i][d];
        if (++at[d] < l->dims[d])
            return true;
        for (size_t i = 0; i < n_in; i++)
            offset[i] -= l->stride[i][d] * l->dims[d];
        at[d] = 0;
    }
    return false;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    struct sizes z = {.dots = 0};
    struct loops l = {.n = 0};
    rcd_status st = measure(c, r, s, &z);
    if (st != RCD_OK)
        return st;
    plan_loops(s, &z, &l);
    struct rcd_tensor *out = NULL;
    const rcd_dtype t = rcd__in(c, 0, r)->dtype;
    const size_t elem = rcd_dtype_size(t);
    st = rcd__new_out(c, 0, r, t, l.n_out, l.dims, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    memset(out->data, 0, out->n * elem);
    for (int d = l.n_out; d < l.n; d++) {
        if (l.dims[d] == 0)
            return RCD_OK; /* empty sums */
    }
    const int outer = l.n_out > 0 ? l.n_out - 1 : 0;
    const size_t inner = l.n_out > 0 ? (size_t)l.dims[outer] : 1;
    int64_t at[MAX_LABELS] = {0}, offset[MAX_INPUTS] = {0}, step[MAX_INPUTS] = {0};
    for (size_t i = 0; i < s->n_in && l.n_out > 0; i++)
        step[i] = l.stride[i][outer];
    char *o = out->data;
    do {
        do {
            const void *in[MAX_INPUTS];
            for (size_t i = 0; i < s->n_in; i++)
                in[i] = (const char *)rcd__in(c, i, r)->data + offset[i] * (int64_t)elem;
            add_products(t, o, inner, s->n_in, in, step);
        } while (next(&l, s->n_in, l.n_out, l.n, at, offset));
        o += inner * elem;
    } while (next(&l, s->n_in, 0, outer, at, offset));
    return RCD_OK;
}

static const struct rcd_op ops[] = {{.name = "Einsum", .since = 12, .check = check, .run = run}};
RCD_OP_LIST(einsum, ops);
