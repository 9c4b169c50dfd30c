/* edges.inc.h - what happens on edges before sums are taken: operations between rows of their two ends
 * and of their own, and the softmax over the edges of a row (body.inc.h).
 *
 * One IEEE operation per element and step, sums along a row in the tree of 16 lanes, sums over edges in
 * edge order: so no width, block or thread shows. */

INLINE vf edge_op(rcd_edge_op op, vf a, vf b)
{
    switch (op) {
    case RCD_EDGE_ADD:
        return a + b;
    case RCD_EDGE_SUB:
        return a - b;
    case RCD_EDGE_MUL:
        return a * b;
    default: /* RCD_EDGE_DIV */
        return a / b;
    }
}

INLINE const float *edge_side(const struct rcd_edge_side *s, size_t t)
{
    return s->base + (s->at != NULL ? (size_t)s->at[t] : t) * s->stride;
}

INLINE void edge_binary(const struct rcd_edge_step *s, rcd_edge_op op)
{
    for (size_t t = 0; t < s->n; t++) {
        const float *a = edge_side(&s->a, t), *b = edge_side(&s->b, t);
        float *y = s->y + t * s->width;
        for (size_t i = 0; i < s->width; i += VF_LANES) {
            const size_t n = s->width - i;
            const vf x = s->a.single ? v_set1(*a) : v_loadn(a + i, n);
            const vf z = s->b.single ? v_set1(*b) : v_loadn(b + i, n);
            v_storen(y + i, edge_op(op, x, z), n);
        }
    }
}

static void edge_step(const struct rcd_edge_step *s)
{
    switch (s->op) {
    case RCD_EDGE_ADD:
        edge_binary(s, RCD_EDGE_ADD);
        return;
    case RCD_EDGE_SUB:
        edge_binary(s, RCD_EDGE_SUB);
        return;
    case RCD_EDGE_MUL:
        edge_binary(s, RCD_EDGE_MUL);
        return;
    case RCD_EDGE_DIV:
        edge_binary(s, RCD_EDGE_DIV);
        return;
    case RCD_EDGE_SUMS:
        for (size_t t = 0; t < s->n; t++) {
            const float *a = edge_side(&s->a, t);
            row_sums(s->width, s->inner, a, s->y + t * s->width);
        }
        return;
    default: /* RCD_EDGE_UNARY */
        if (s->a.at == NULL && s->a.stride == s->width) {
            unary(s->f, s->n * s->width, s->a.base, s->y, s->alpha, s->beta);
            return;
        }
        for (size_t t = 0; t < s->n; t++)
            unary(s->f, s->width, edge_side(&s->a, t), s->y + t * s->width, s->alpha, s->beta);
    }
}

/* Up to VF_LANES groups from g on: what is below the greatest of each row. */
INLINE void edge_below(const struct rcd_edge_softmax *s, size_t g, size_t n)
{
    const int32_t first = s->ptr[0];
    for (size_t i = 0; i < s->rows; i++) {
        const size_t from = (size_t)(s->ptr[i] - first), to = (size_t)(s->ptr[i + 1] - first);
        vf m = v_set1(s->floor);
        for (size_t t = from; t < to; t++) {
            const vf a = v_loadn(s->a + t * s->groups + g, n);
            m = v_select((vi)(a > m) | (vi)(a != a), a, m);
        }
        for (size_t t = from; t < to; t++)
            v_storen(s->y + t * s->groups + g, v_loadn(s->a + t * s->groups + g, n) - m, n);
    }
}

/* The sum of a row of p, for each of its edges. */
INLINE void edge_sums(const struct rcd_edge_softmax *s, const float *p, size_t g, size_t n)
{
    const int32_t first = s->ptr[0];
    for (size_t i = 0; i < s->rows; i++) {
        const size_t from = (size_t)(s->ptr[i] - first), to = (size_t)(s->ptr[i + 1] - first);
        vf sum = {0};
        for (size_t t = from; t < to; t++)
            sum += v_loadn(p + t * s->groups + g, n);
        sum += v_set1(s->eps);
        for (size_t t = from; t < to; t++)
            v_storen(s->sums + t * s->groups + g, sum, n);
    }
}

/* What follows a row's edges goes row by row; exponents and divisions take all that there are. */
static void edge_softmax(const struct rcd_edge_softmax *s)
{
    const size_t n = (size_t)(s->ptr[s->rows] - s->ptr[0]) * s->groups;
    const float *p = s->raw ? s->a : s->y;
    for (size_t g = 0; g < s->groups && !s->raw; g += VF_LANES)
        edge_below(s, g, s->groups - g < VF_LANES ? s->groups - g : VF_LANES);
    if (!s->raw)
        unary(RCD_UN_EXP, n, s->y, s->y, 0, 0);
    for (size_t g = 0; g < s->groups; g += VF_LANES)
        edge_sums(s, p, g, s->groups - g < VF_LANES ? s->groups - g : VF_LANES);
    for (size_t i = 0; i < n; i += VF_LANES)
        v_storen(s->y + i, v_loadn(p + i, n - i) / v_loadn(s->sums + i, n - i), n - i);
}
