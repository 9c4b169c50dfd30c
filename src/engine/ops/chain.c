/* chain.c - a sparse product and the products of rows behind it, some rows at a time: what lies between stays in cache
 * and is never made as a whole. The same kernels over the same rows as node by node, and so the same bits. */
#include "../team.h"
#include "product.h"
#include "sparse.h"

#include <string.h>

enum { BLOCK_ROWS = 48, PARALLEL_ROWS = 10 * BLOCK_ROWS };

struct chain {
    const struct rcd_kernels *kern;
    const struct rcd_spmm *sum; /* y: none */
    size_t rows;                /* from here on no edge ends */
    size_t n;
    const struct rcd__row_product *products[RCD__JOINED];
    float *out;
    size_t widest; /* floats of a row on its way */
    float *scratch;
    unsigned taken; /* atomic: parts of scratch */
};

/* Rows [row, row + n) of the sums. */
static void sum_rows(const struct chain *c, size_t row, size_t n, float *to)
{
    const size_t width = c->sum->groups * c->sum->chan;
    const size_t with = row >= c->rows ? 0 : c->rows - row < n ? c->rows - row : n;
    struct rcd_spmm part = *c->sum;
    part.ptr += with > 0 ? row : 0;
    part.y = to;
    part.row_end = with;
    if (with > 0)
        c->kern->spmm(&part);
    rcd__rows_end(to + with * width, n - with, width, part.bias, part.relu);
}

static void multiply(const struct chain *c, const struct rcd__row_product *p, size_t n,
                     const float *from, float *to)
{
    const float *a[BLOCK_ROWS];
    float *y[BLOCK_ROWS];
    for (size_t i = 0; i < n; i++) {
        a[i] = from + i * p->b.k;
        y[i] = to + i * p->b.n;
    }
    const struct rcd_gemm g = {.rows = n, .a = a, .c = y, .b = &p->b, .bias = p->bias};
    c->kern->gemm(&g);
    if (p->relu)
        c->kern->unary(RCD_UN_RELU, n * p->b.n, to, to, 0, 0);
}

static void chain_some(void *ctx, size_t from, size_t to)
{
    struct chain *c = ctx;
    const unsigned place = rcd__place_take(&c->taken);
    float *near = c->scratch + 2 * place * c->widest * BLOCK_ROWS;
    float *const buf[2] = {near, near + c->widest * BLOCK_ROWS};
    for (size_t row = from, n = 0; row < to; row += n) {
        n = to - row < BLOCK_ROWS ? to - row : BLOCK_ROWS;
        sum_rows(c, row, n, buf[0]);
        for (size_t i = 0; i < c->n; i++) {
            const struct rcd__row_product *p = c->products[i];
            multiply(c, p, n, buf[i % 2], i + 1 == c->n ? c->out + row * p->b.n : buf[(i + 1) % 2]);
        }
    }
    rcd__place_give(&c->taken, place);
}

rcd_status rcd__chain_run(struct rcd_call *c, size_t r, size_t rows, const struct rcd_spmm *sum,
                          size_t n)
{
    struct chain chain = {.kern = c->kern, .sum = sum, .rows = sum->row_end, .n = n};
    chain.widest = sum->groups * sum->chan;
    for (size_t i = 0; i < n; i++) {
        chain.products[i] = rcd__row_product_of(&c->node[1 + i]);
        RCD_ASSERT(chain.products[i] != NULL); /* fuse_order.c */
        const size_t width = chain.products[i]->b.n;
        chain.widest = i + 1 < n && width > chain.widest ? width : chain.widest;
    }
    struct rcd_call last = *c;
    struct rcd_tensor *out = NULL;
    last.node = c->node + n;
    const int64_t dims[2] = {(int64_t)rows, (int64_t)chain.products[n - 1]->b.n};
    rcd_status st = rcd__new_out(&last, 0, r, RCD_F32, 2, dims, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    chain.out = out->data;
    const size_t places = rcd__places(c->x->team);
    chain.scratch =
        rcd__scratch(c, r, places * 2 * chain.widest * BLOCK_ROWS * sizeof *chain.scratch);
    if (chain.scratch == NULL)
        return RCD_ENOMEM;
    rcd__team_run(c->x->team, rows, PARALLEL_ROWS, chain_some, &chain);
    return RCD_OK;
}
