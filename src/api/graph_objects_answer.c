/* graph_objects_answer.c - answers and errors in the form of graph_objects.c. */
#include "graph_objects.h"

#include <string.h>

static void put_number(struct rcd_buf *b, const struct rcd_tensor *t, size_t i)
{
    char text[32];
    if (t->dtype == RCD_F32) {
        const float v = ((const float *)t->data)[i];
        const bool finite = v - v == 0; /* NaN and the infinities have no number in JSON */
        (void)rcd_buf_append(b, finite ? text : "null", finite ? rcd_f32_print(text, v) : 4);
    } else if (t->dtype == RCD_I64) {
        (void)rcd_buf_printf(b, "%lld", (long long)((const int64_t *)t->data)[i]);
    } else {
        (void)rcd_buf_puts(b, "null");
    }
}

rcd_status rcd__objects_encode(struct rcd__infer *x, const struct rcd_tensor *rows,
                               struct rcd_error *err)
{
    const struct rcd__objects *o = x->objects;
    const size_t n = rows->rank > 0 ? (size_t)rows->dims[0] : 1, width = n > 0 ? rows->n / n : 0;
    const bool by_node = x->on_graph.n_nodes == n && rows->rank > 0;
    (void)rcd_buf_puts(&x->out, "{\"status_code\":200,\"request_uid\":");
    rcd__put_text(&x->out, o->uid);
    (void)rcd_buf_puts(&x->out, ",\"message\":\"ok\",\"error\":\"\",\"data\":{\"results\":[");
    for (size_t i = 0; i < n; i++) {
        (void)rcd_buf_puts(&x->out, i > 0 ? ",{" : "{");
        if (by_node) {
            (void)rcd_buf_puts(&x->out, "\"node_type\":");
            rcd__put_text(&x->out, o->targets[i].type);
            (void)rcd_buf_puts(&x->out, ",\"node_id\":");
            if (o->targets[i].number)
                (void)rcd_buf_puts(&x->out, o->targets[i].id);
            else
                rcd__put_text(&x->out, o->targets[i].id);
            (void)rcd_buf_puts(&x->out, ",");
        }
        (void)rcd_buf_puts(&x->out, "\"predictions\":[");
        for (size_t k = 0; k < width; k++) {
            (void)rcd_buf_puts(&x->out, k > 0 ? "," : "");
            put_number(&x->out, rows, i * width + k);
        }
        (void)rcd_buf_puts(&x->out, "]}");
    }
    (void)rcd_buf_puts(&x->out, "]}}");
    return x->out.failed ? rcd_fail(err, RCD_EINTERNAL, "the answer is over the limit of %zu bytes",
                                    x->out.max)
                         : RCD_OK;
}

void rcd__objects_error(const struct rcd__infer *x, const struct rcd_error *err)
{
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    (void)rcd_buf_printf(&b, "{\"status_code\":%d,\"request_uid\":",
                         x->objects->code != 0 ? x->objects->code
                                               : (int)rcd_status_http(err->code));
    rcd__put_text(&b, x->objects->uid != NULL ? x->objects->uid : "");
    (void)rcd_buf_puts(&b, ",\"message\":\"\",\"error\":");
    rcd__put_text(&b, err->text);
    (void)rcd_buf_printf(&b, ",\"code\":\"%s\",\"data\":{}}", rcd_status_word(err->code));
    rcd__answer(x->req, rcd_status_http(err->code), &b);
}
