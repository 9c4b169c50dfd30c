/* shape.c - the shape of an input that a person typed as JSON lists. */
#include "ctl_int.h"

enum { RANK_MAX = 8 };

/* Sizes by following first elements. */
static size_t nesting(const json_t *data, size_t sizes[RANK_MAX + 1])
{
    size_t rank = 0;
    while (json_is_array(data) && rank <= RANK_MAX) {
        sizes[rank++] = json_array_size(data);
        data = json_array_get(data, 0);
    }
    return rank;
}

static bool regular(const json_t *data, const size_t *sizes, size_t rank)
{
    if (rank == 0)
        return !json_is_array(data) && !json_is_object(data);
    if (!json_is_array(data) || json_array_size(data) != sizes[0])
        return false;
    size_t i;
    const json_t *e;
    json_array_foreach(data, i, e)
    {
        if (!regular(e, sizes + 1, rank - 1))
            return false;
    }
    return true;
}

/* `n` flat elements into the declared shape. */
static json_t *fill(const json_t *declared, size_t n, struct rcd_error *err)
{
    size_t rank = json_array_size(declared), fixed = 1, open = rank;
    for (size_t d = 0; d < rank; d++) {
        json_int_t size = json_integer_value(json_array_get(declared, d));
        if (size < 0)
            open = d;
        else if (!rcd_mul(fixed, (size_t)size, &fixed))
            fixed = 0;
    }
    if (fixed == 0 || n % fixed != 0 || (open == rank && n != fixed)) {
        rcd_fail(err, RCD_EINVAL, "%zu values do not fill the model's shape (%zu to a step)", n,
                 fixed);
        return NULL;
    }
    json_t *shape = json_array();
    for (size_t d = 0; d < rank; d++) {
        json_int_t size = json_integer_value(json_array_get(declared, d));
        if (size < 0)
            size = d == open ? (json_int_t)(n / fixed) : 1;
        json_array_append_new(shape, json_integer(size));
    }
    return shape;
}

json_t *rcd__input_shape(const json_t *data, const json_t *declared, struct rcd_error *err)
{
    size_t sizes[RANK_MAX + 1] = {0}, rank = nesting(data, sizes);
    if (rank > RANK_MAX || !regular(data, sizes, rank)) {
        rcd_fail(err, RCD_EINVAL, "the lists are not regular: all of one depth need one length");
        return NULL;
    }
    if (rank == 1 && json_is_array(declared) && json_array_size(declared) != 1)
        return fill(declared, sizes[0], err);
    json_t *shape = json_array();
    for (size_t d = 0; d < rank; d++)
        json_array_append_new(shape, json_integer((json_int_t)sizes[d]));
    return shape;
}
