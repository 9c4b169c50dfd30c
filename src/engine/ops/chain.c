/* chain.c - a sparse product and the products of rows behind it, some rows at a time: what lies between stays in cache
 * and is never made as a whole. The same kernels over the same rows as node by node, and so the same bits. */
#include "../team.h"
#include "product.h"
#include "sparse.h"

#include <string.h>

enum { BLOCK_ROWS = RCD__SOME_ROWS, PARALLEL_ROWS = 10 * BLOCK_ROWS, SQUEEZE_ROWS = 2048 };

struct chain {
    const struct rcd_kernels *kern;
    const struct rcd_spmm *sum; /* y: none */
    size_t rows;                /* from here on no edge ends */
    size_t n;
    const struct rcd__row_product *products[RCD__JOINED];
    float *out;
    bool squeezed; /* the zeros of its rows are left out */
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
            const bool last = i + 1 == c->n && !c->squeezed;
            rcd__row_product_some(c->kern, p, n, buf[i % 2],
                                  last ? c->out + row * p->b.n : buf[(i + 1) % 2]);
        }
        const size_t width = c->products[c->n - 1]->b.n;
        if (c->squeezed)
            c->kern->squeeze(n, width, buf[c->n % 2], c->out + row * (width + RCD_SQUEEZED_MORE));
    }
    rcd__place_give(&c->taken, place);
}

/* Are the zeros of the result worth leaving out? The first rows tell: a quarter of them at least. */
static bool many_zeros(const struct chain *c)
{
    const size_t n = c->rows < BLOCK_ROWS ? c->rows : BLOCK_ROWS;
    float *const buf[2] = {c->scratch, c->scratch + c->widest * BLOCK_ROWS};
    sum_rows(c, 0, n, buf[0]);
    for (size_t i = 0; i < c->n; i++)
        rcd__row_product_some(c->kern, c->products[i], n, buf[i % 2], buf[(i + 1) % 2]);
    const size_t all = n * c->products[c->n - 1]->b.n;
    size_t zeros = 0;
    for (size_t i = 0; i < all; i++)
        zeros += buf[c->n % 2][i] == 0.0f;
    return zeros >= all / 4;
}

/* The result; with rows of the size that squeezed ones have, where that pays. */
static rcd_status chain_out(struct rcd_call *c, size_t r, struct chain *chain, size_t rows,
                            struct rcd_tensor **ret)
{
    struct rcd_call last = *c;
    last.node = c->node + chain->n;
    const size_t width = chain->products[chain->n - 1]->b.n;
    chain->squeezed = last.node->squeezed && c->kern->squeeze != NULL && !rcd__out_kept(&last, 0) &&
                      c->run->squeezed == NULL && rows >= SQUEEZE_ROWS && chain->rows > 0 &&
                      (width == RCD_SQUEEZED || width == RCD_SQUEEZED / 2) && many_zeros(chain);
    const int64_t dims[2] = {(int64_t)rows,
                             (int64_t)(width + (chain->squeezed ? RCD_SQUEEZED_MORE : 0))};
    rcd_status st = rcd__new_out(&last, 0, r, RCD_F32, 2, dims, ret);
    if (st != RCD_OK || *ret == NULL)
        return st;
    chain->out = (*ret)->data;
    if (chain->squeezed) {
        (*ret)->dims[1] = (int64_t)width;
        (*ret)->n = rows * width;
        c->run->squeezed = (*ret)->block;
    }
    return RCD_OK;
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
        chain.widest = width > chain.widest ? width : chain.widest;
    }
    const size_t places = rcd__places(c->x->team);
    chain.scratch =
        rcd__scratch(c, r, places * 2 * chain.widest * BLOCK_ROWS * sizeof *chain.scratch);
    if (chain.scratch == NULL)
        return RCD_ENOMEM;
    struct rcd_tensor *out = NULL;
    rcd_status st = chain_out(c, r, &chain, rows, &out);
    if (st == RCD_OK && out != NULL)
        rcd__team_run(c->x->team, rows, PARALLEL_ROWS, chain_some, &chain);
    return st;
}
