/* trig.c - Sin, Cos and their kin (encodings of time and place): in double by the C library, rounded once, so that they are
 * the same on every CPU level. */
#include "ops.h"

#include <math.h>
#include <string.h>

typedef double function(double x);

static const struct {
    const char *name;
    function *f;
} rows[] = {
    {"Sin", sin},     {"Cos", cos},     {"Tan", tan},     {"Asin", asin},
    {"Acos", acos},   {"Atan", atan},   {"Sinh", sinh},   {"Cosh", cosh},
    {"Asinh", asinh}, {"Acosh", acosh}, {"Atanh", atanh},
};

static size_t row_of(const char *name)
{
    size_t row = 0;
    while (strcmp(rows[row].name, name) != 0)
        row++;
    return row;
}

static rcd_status check(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_TS_FLOAT);
    if (st == RCD_OK)
        rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    function *f = rows[row_of(c->node->op->name)].f;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_like(c, r, x->dtype, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    for (size_t i = 0; i < x->n; i++) {
        if (x->dtype == RCD_F32)
            ((float *)out->data)[i] = (float)f((double)((const float *)x->data)[i]);
        else
            ((double *)out->data)[i] = f(((const double *)x->data)[i]);
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {
    {.name = "Sin", .since = 7, .check = check, .run = run},
    {.name = "Cos", .since = 7, .check = check, .run = run},
    {.name = "Tan", .since = 7, .check = check, .run = run},
    {.name = "Asin", .since = 7, .check = check, .run = run},
    {.name = "Acos", .since = 7, .check = check, .run = run},
    {.name = "Atan", .since = 7, .check = check, .run = run},
    {.name = "Sinh", .since = 9, .check = check, .run = run},
    {.name = "Cosh", .since = 9, .check = check, .run = run},
    {.name = "Asinh", .since = 9, .check = check, .run = run},
    {.name = "Acosh", .since = 9, .check = check, .run = run},
    {.name = "Atanh", .since = 9, .check = check, .run = run},
};
RCD_OP_LIST(trig, ops);
