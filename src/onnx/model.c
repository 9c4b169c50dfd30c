/* model.c - the whole file: head, operator sets, functions, main graph, value table. */
#include "onnx_int.h"

#include <limits.h>
#include <string.h>

enum { IR_MAX = 99, IR_OPSETS = 3 }; /* before IR version 3 there was only operator set 1 */

static rcd_status keep(struct rcd__load *l, const char *text, const char **ret)
{
    *ret = rcd__onnx_keep_text(l, rcd__text(text), strlen(rcd__text(text)));
    return *ret != NULL ? RCD_OK : rcd__onnx_no_memory(l);
}

static rcd_status head(struct rcd__load *l, const Onx__ModelProto *p)
{
    rcd_onnx_model *m = l->model;
    if (p->ir_version < 1 || p->ir_version > IR_MAX || p->graph == NULL)
        return rcd_fail(
            l->err, RCD_EMODEL, "not an ONNX model: IR version %lld (1 to %d are known), %s",
            (long long)p->ir_version, IR_MAX, p->graph == NULL ? "no graph" : "with a graph");
    m->ir_version = p->ir_version;
    bool readable = rcd__onnx_utf8(p->doc_string.data, p->doc_string.len);
    m->doc =
        rcd__onnx_keep_text(l, (const char *)p->doc_string.data, readable ? p->doc_string.len : 0);
    if (m->doc == NULL)
        return rcd__onnx_no_memory(l);
    rcd_status st = keep(l, p->producer_name, &m->producer_name);
    if (st == RCD_OK)
        st = keep(l, p->producer_version, &m->producer_version);
    m->n_meta = p->n_metadata_props;
    m->meta_keys = rcd__onnx_keep(l, m->n_meta, sizeof *m->meta_keys);
    m->meta_values = rcd__onnx_keep(l, m->n_meta, sizeof *m->meta_values);
    if (st == RCD_OK && (m->meta_keys == NULL || m->meta_values == NULL))
        return rcd__onnx_no_memory(l);
    for (size_t i = 0; i < m->n_meta && st == RCD_OK; i++) {
        st = keep(l, p->metadata_props[i]->key, &m->meta_keys[i]);
        if (st == RCD_OK)
            st = keep(l, p->metadata_props[i]->value, &m->meta_values[i]);
    }
    return st;
}

static rcd_status opsets(struct rcd__load *l, struct rcd__env *env, const Onx__ModelProto *p)
{
    if (p->n_opset_import > ONNX_MAX_OPSETS)
        return rcd_fail(l->err, RCD_EMODEL, "%zu operator sets imported, the limit is %d",
                        p->n_opset_import, ONNX_MAX_OPSETS);
    for (size_t i = 0; i < p->n_opset_import; i++) {
        const char *domain = rcd__text(p->opset_import[i]->domain);
        int64_t version = p->opset_import[i]->version;
        char quoted[ONNX_QUOTE];
        int other = 0;
        env->n_opsets = i; /* those before this one */
        env->opsets = p->opset_import;
        bool twice = rcd__opset_find(env, domain, &other) && other != version;
        if (twice || version < 1 || version > INT_MAX)
            return rcd_fail(l->err, RCD_EMODEL, "operator set '%s' version %lld: %s",
                            rcd__onnx_quote(quoted, domain), (long long)version,
                            twice ? "imported with another version before" : "not possible");
    }
    env->n_opsets = p->n_opset_import;
    env->opsets = p->opset_import;
    if (p->n_opset_import == 0 && p->ir_version < IR_OPSETS) {
        l->first_opset.version = 1;
        l->only_first[0] = &l->first_opset;
        env->n_opsets = 1;
        env->opsets = l->only_first;
    }
    if (!rcd__opset_find(env, "", &l->model->opset))
        l->model->opset = 0;
    return RCD_OK;
}

static rcd_status build(struct rcd__load *l, const Onx__ModelProto *p)
{
    rcd_onnx_model *m = l->model;
    struct rcd__env env = {.l = l};
    rcd_status st = head(l, p);
    if (st == RCD_OK)
        st = opsets(l, &env, p);
    if (st == RCD_OK)
        st = rcd__functions_collect(l, p);
    if (st == RCD_OK)
        st = rcd__graph_build(&env, p->graph, &m->graph);
    if (st != RCD_OK)
        return st;
    m->n_values = l->n_values;
    m->values = rcd__onnx_keep(l, l->n_values, sizeof *m->values);
    if (m->values == NULL)
        return rcd__onnx_no_memory(l);
    if (l->n_values > 0)
        memcpy(m->values, l->values, l->n_values * sizeof *m->values);
    m->fingerprint = l->fingerprint;
    return RCD_OK;
}

rcd_status rcd_onnx_load(const struct rcd_onnx_source *src, rcd_onnx_model **ret_model,
                         struct rcd_error *err)
{
    struct rcd__onnx_mem mem;
    ProtobufCMessage *msg = NULL;
    rcd_onnx_model *m = rcd_calloc(1, sizeof *m);
    if (m == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the model");
    rcd_arena_init(&m->arena, src->max_bytes);
    rcd__onnx_mem_init(&mem, src->max_bytes);
    struct rcd__load l = {
        .arena = &m->arena, .mem = &mem, .err = err, .dir_fd = src->dir_fd, .model = m};
    rcd__names_init(&l.functions, &mem);
    rcd__names_init(&l.tensors, &mem);
    l.fingerprint = rcd__onnx_hash(src->bytes, src->len, 0);

    rcd_status st = rcd__onnx_unpack(&l, &onx__model_proto__descriptor, src->bytes, src->len, &msg);
    if (st == RCD_OK)
        st = build(&l, (const Onx__ModelProto *)msg);
    rcd__functions_release(&l);
    rcd__names_done(&l.tensors);
    rcd__onnx_mem_free(&mem, l.values);
    if (msg != NULL)
        protobuf_c_message_free_unpacked(msg, &mem.vt);
    RCD_ASSERT(mem.live == 0);
    if (st == RCD_OK)
        *ret_model = m;
    else
        rcd_onnx_free(m);
    return st;
}

rcd_onnx_model *rcd_onnx_free(rcd_onnx_model *m)
{
    if (m != NULL) {
        rcd_arena_done(&m->arena);
        rcd_free(m);
    }
    return NULL;
}
