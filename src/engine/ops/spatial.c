/* spatial.c - windows that move over spatial dims. */
#include "spatial.h"

#include <string.h>

struct rcd__dim rcd__dim_none(void)
{
    return (struct rcd__dim){.in = 1, .out = 1, .kernel = 1, .stride = 1, .dilation = 1};
}

rcd_status rcd__spatial_range(struct rcd_check *k, const char *name, const int64_t *v, size_t n,
                              int64_t least)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i] < least || v[i] > INT32_MAX)
            return rcd__refuse(k, "%s %zu is %lld", name, i, (long long)v[i]);
    }
    return RCD_OK;
}

rcd_status rcd__spatial_read(struct rcd_check *k, struct rcd__spatial *s)
{
    static const char *const names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
    size_t m = 0;
    rcd_status st = rcd__attr_choice(k, "auto_pad", names, RCD_COUNT(names), &m);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "kernel_shape", &s->kernel, &s->n_kernel);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "strides", &s->strides, &s->n_strides);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "dilations", &s->dilations, &s->n_dilations);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "pads", &s->pads, &s->n_pads);
    if (st != RCD_OK)
        return st;
    s->auto_pad = (enum rcd__auto_pad)m;
    st = rcd__spatial_range(k, "stride", s->strides, s->n_strides, 1);
    if (st == RCD_OK)
        st = rcd__spatial_range(k, "dilation", s->dilations, s->n_dilations, 1);
    return st == RCD_OK ? rcd__spatial_range(k, "pad", s->pads, s->n_pads, 0) : st;
}

rcd_status rcd__spatial_size(const struct rcd_call *c, size_t r, const struct rcd__spatial *s,
                             int i, int n, bool up, struct rcd__dim *d)
{
    d->stride = s->n_strides > 0 ? s->strides[i] : 1;
    d->dilation = s->n_dilations > 0 ? s->dilations[i] : 1;
    const int64_t reach = (d->kernel - 1) * d->dilation + 1;
    if (s->auto_pad == RCD__SAME_UPPER || s->auto_pad == RCD__SAME_LOWER) {
        int64_t out = (d->in + d->stride - 1) / d->stride;
        int64_t total = (out - 1) * d->stride + reach - d->in;
        total = total > 0 ? total : 0;
        d->pad = s->auto_pad == RCD__SAME_UPPER ? total / 2 : total - total / 2;
        d->end = total - d->pad;
    } else if (s->auto_pad == RCD__NOTSET && s->n_pads > 0) {
        d->pad = s->pads[i];
        d->end = s->pads[i + n];
    }
    const int64_t room = d->in + d->pad + d->end - reach;
    if (room < 0)
        return rcd__fail(c, r, RCD_EINVAL,
                         "spatial dim %d: %lld elements are fewer than the kernel's %lld", i,
                         (long long)(d->in + d->pad + d->end), (long long)reach);
    d->out = (up ? room + d->stride - 1 : room) / d->stride + 1;
    if (up && (d->out - 1) * d->stride >= d->in + d->pad)
        d->out--; /* a window that would begin behind the end */
    return RCD_OK;
}
