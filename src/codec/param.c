/* param.c - "parameters": scalars by name. */
#include "codec_int.h"

#include "decimal_int.h"

#include <string.h>

static rcd_status scan_number(struct rcd__scan *s, struct rcd_param *ret)
{
    struct rcd__decimal d;
    const char *end = rcd__decimal(s->p, s->end, &d);
    if (end == NULL)
        return rcd__scan_unexpected(s, "a number");
    if (!d.integer) {
        ret->kind = RCD_PARAM_DOUBLE;
        if (!rcd__decimal_f64(&d, &ret->d))
            return rcd__scan_unexpected(s, "a number up to 1.797693134862315e+308");
    } else {
        uint64_t v = 0;
        if (!rcd__decimal_u64(&d, &v) || (d.negative && v > (uint64_t)INT64_MAX + 1))
            return rcd__scan_unexpected(
                s, "an integer from -9223372036854775808 to 18446744073709551615");
        ret->kind = d.negative && v != 0 ? RCD_PARAM_INT : RCD_PARAM_UINT;
        if (ret->kind == RCD_PARAM_INT)
            ret->i = (int64_t)(0 - v);
        else
            ret->u = v;
    }
    s->p = end;
    return RCD_OK;
}

rcd_status rcd__scan_scalar(struct rcd__scan *s, struct rcd_param *ret)
{
    char c = rcd__scan_peek(s);
    if (c == '"') {
        ret->kind = RCD_PARAM_STRING;
        return rcd__scan_string(s, "a parameter", &ret->str, &ret->str_len);
    }
    if (c == '-' || rcd__is_digit(c))
        return scan_number(s, ret);
    ret->kind = RCD_PARAM_BOOL;
    ret->b = c == 't';
    if (rcd__scan_word(s, "true") || rcd__scan_word(s, "false"))
        return RCD_OK;
    return rcd__scan_unexpected(s, "a string, a number, true or false for a parameter");
}

static rcd_status scan_param(struct rcd__scan *s, const struct rcd__text *key,
                             struct rcd__names *names, struct rcd_param *ret)
{
    static const char reserved[] = "triton_";
    rcd_status st = rcd__text_name(s, key, "a parameter's name", &ret->name);
    if (st == RCD_OK)
        st = rcd__wire_names_add(s, names, ret->name, "parameter");
    if (st != RCD_OK)
        return st;
    char text[RCD__SNIPPET];
    if (strncmp(ret->name, reserved, sizeof reserved - 1) == 0)
        return rcd__scan_fail(s, key->at, "parameter '%s': names with '%s' are reserved",
                              rcd_quote(text, sizeof text, ret->name, strlen(ret->name)), reserved);
    st = rcd__scan_scalar(s, ret);
    if (st != RCD_OK)
        return rcd_error_prefix(s->err, st, "parameter '%s': ",
                                rcd_quote(text, sizeof text, ret->name, strlen(ret->name)));
    if (strcmp(ret->name, "binary_data_output") == 0 && ret->kind != RCD_PARAM_BOOL)
        return rcd__scan_fail(s, key->at, "parameter 'binary_data_output' must be true or false");
    return RCD_OK;
}

rcd_status rcd__scan_params(struct rcd__scan *s, struct rcd_wire_request *req)
{
    struct rcd__names names = {.n = 0};
    void *list = NULL;
    size_t cap = 0;
    bool first = true;
    struct rcd__text key;
    rcd_status st = rcd__scan_open(s, '{', "'parameters'");
    while (st == RCD_OK && rcd__scan_member(s, &first, &key, &st)) {
        if (req->n_params == RCD__MAX_PARAMS)
            return rcd__scan_fail(s, key.at, "more than %d parameters", RCD__MAX_PARAMS);
        st = rcd__scan_grow(s, &list, req->n_params, &cap, sizeof *req->params);
        if (st != RCD_OK)
            break;
        req->params = list;
        struct rcd_param *p = &req->params[req->n_params];
        st = scan_param(s, &key, &names, p);
        req->n_params++;
        if (st == RCD_OK && strcmp(p->name, "binary_data_output") == 0)
            req->binary_output = p->b;
    }
    return st;
}
