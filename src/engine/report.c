/* report.c - a plan in words: what runs, node by node, and what became of the file's nodes. */
#include "engine_int.h"
#include "ops/sparse.h"
#include "recurd/engine_report.h"

#include <string.h>

static size_t count_file_nodes(const struct rcd_onnx_graph *g)
{
    size_t n = g->n_nodes;
    for (size_t i = 0; i < g->n_nodes; i++) {
        for (size_t a = 0; a < g->nodes[i].n_attrs; a++) {
            if (g->nodes[i].attrs[a].type == RCD_ATTR_GRAPH)
                n += count_file_nodes(g->nodes[i].attrs[a].g);
        }
    }
    return n;
}

static size_t count_nodes(const struct rcd_body *b)
{
    size_t n = b->n_nodes;
    for (size_t i = 0; i < b->n_nodes; i++) {
        for (size_t k = 0; k < b->nodes[i].n_bodies; k++)
            n += count_nodes(&b->nodes[i].bodies[k]);
    }
    return n;
}

size_t rcd_plan_file_nodes(const rcd_plan *p)
{
    return count_file_nodes(&p->model->graph);
}

size_t rcd_plan_nodes(const rcd_plan *p)
{
    return count_nodes(&p->main);
}

static void value_name(const rcd_plan *p, rcd_value_id id, char *ret, size_t cap)
{
    if (id == RCD_NO_VALUE) {
        snprintf(ret, cap, "-");
    } else if (id >= p->model->n_values) {
        snprintf(ret, cap, "#%u", (unsigned)(id - p->model->n_values));
    } else {
        const char *name = p->model->values[id].name;
        rcd_quote(ret, cap, name, strlen(name));
    }
}

static rcd_status list_values(const rcd_plan *p, const rcd_value_id *ids, size_t n,
                              struct rcd_buf *out)
{
    rcd_status st = RCD_OK;
    while (n > 0 && ids[n - 1] == RCD_NO_VALUE)
        n--;
    for (size_t i = 0; st == RCD_OK && i < n; i++) {
        char name[64];
        value_name(p, ids[i], name, sizeof name);
        st = rcd_buf_printf(out, "%s%s", i > 0 ? ", " : "", name);
    }
    return st;
}

static rcd_status body_text(const rcd_plan *p, const struct rcd_body *b, int depth,
                            struct rcd_buf *out)
{
    rcd_status st = RCD_OK;
    for (size_t i = 0; st == RCD_OK && i < b->n_nodes; i++) {
        const struct rcd_node *n = &b->nodes[i];
        char name[96];
        rcd_quote(name, sizeof name, n->src->name, strlen(n->src->name));
        bool fused = n->op->domain != NULL && strcmp(n->op->domain, "recurd.fused") == 0;
        st = rcd_buf_printf(out, "%*s%s%s(", 2 * depth, "",
                            fused       ? "* "
                            : n->joined ? "+ "
                                        : "",
                            n->op->name);
        if (st == RCD_OK)
            st = list_values(p, n->in, n->n_in, out);
        if (st == RCD_OK)
            st = rcd_buf_puts(out, ") -> ");
        if (st == RCD_OK)
            st = list_values(p, n->out, n->n_out, out);
        if (st == RCD_OK && n->weights != RCD_WEIGHTS_F32)
            st = rcd_buf_printf(out, "   weights %s", rcd_weights_name(n->weights));
        if (st == RCD_OK && (n->op == &rcd__op_spmm || n->op == &rcd__op_spmm_each)) {
            static const char *const how[] = {"sum", "max", "min", "mean"};
            st = rcd_buf_printf(out, "   %s", how[((const struct rcd__spmm_state *)n->state)->how]);
        }
        if (st == RCD_OK && n->op == &rcd__op_attend &&
            ((const struct rcd__attend_state *)n->state)->values.width > 0)
            st = rcd_buf_puts(out, "   of rows made edge by edge");
        if (st == RCD_OK)
            st = rcd_buf_printf(out, "%s%s\n", name[0] != '\0' ? "   node " : "", name);
        for (size_t k = 0; st == RCD_OK && k < n->n_bodies; k++) {
            st = rcd_buf_printf(out, "%*sbody %zu:\n", 2 * depth + 2, "", k);
            if (st == RCD_OK)
                st = body_text(p, &n->bodies[k], depth + 2, out);
        }
    }
    return st;
}

rcd_status rcd_plan_report(const rcd_plan *p, struct rcd_buf *out)
{
    rcd_status st = rcd_buf_printf(
        out,
        "%zu nodes in the file, %zu in the plan; * made by fusion, + runs with the node before\n",
        rcd_plan_file_nodes(p), rcd_plan_nodes(p));
    if (st == RCD_OK && p->weights != RCD_WEIGHTS_F32)
        st = rcd_buf_printf(out, "weights %s: %.1f MB packed, %.1f MB as f32\n",
                            rcd_weights_name(p->weights), (double)p->stored_bytes / 1e6,
                            (double)p->f32_bytes / 1e6);
    if (st == RCD_OK)
        st = body_text(p, &p->main, 0, out);
    for (size_t i = 0; st == RCD_OK && i < p->n_warnings; i++)
        st = rcd_buf_printf(out, "warning: %s\n", p->warnings[i]);
    return st;
}
