/* fake_engine.c - see fake_engine.h. */
#include "fake_engine.h"

#include "recurd/engine_steps.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct rcd_plan {
    atomic_int refs;
    rcd_onnx_model *model;
    struct rcd_io inputs[2];
    size_t bytes;
};
struct rcd_exec {
    float cell;
};

static atomic_int plans, runs;
static atomic_bool gate, reached;
static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER; /* several threads warm up */
static struct rcd_tensor last_x;

int fake_plans(void)
{
    return atomic_load(&plans);
}

int fake_runs(void)
{
    return atomic_load(&runs);
}

struct rcd_tensor fake_last_x(void)
{
    pthread_mutex_lock(&last_lock);
    struct rcd_tensor x = last_x;
    pthread_mutex_unlock(&last_lock);
    return x;
}

void fake_gate_open(void)
{
    atomic_store(&gate, true);
}

bool fake_gate_reached(void)
{
    return atomic_load(&reached);
}

rcd_status rcd_onnx_load(const struct rcd_onnx_source *src, rcd_onnx_model **ret_model,
                         struct rcd_error *err)
{
    rcd_onnx_model *m = rcd_calloc(1, sizeof *m);
    char *text = m != NULL ? rcd_strndup(src->bytes, src->len) : NULL;
    if (text == NULL) {
        rcd_free(m);
        return rcd_fail(err, RCD_ENOMEM, "no memory for a model");
    }
    m->doc = text;
    rcd_status st = RCD_OK;
    if (strncmp(text, "wrong ", 6) == 0)
        st = rcd_fail(err, RCD_EMODEL, "%s", text + 6);
    if (strcmp(text, "near") == 0) {
        int fd = src->dir_fd >= 0 ? openat(src->dir_fd, "weights.bin", O_RDONLY) : -1;
        if (fd < 0)
            st = rcd_fail(err, RCD_EMODEL, "external data is not allowed here");
        else
            close(fd);
    }
    if (strcmp(text, "gate") == 0) {
        atomic_store(&reached, true);
        while (!atomic_load(&gate))
            usleep(1000);
    }
    if (st == RCD_OK)
        *ret_model = m;
    else
        rcd_onnx_free(m);
    return st;
}

rcd_onnx_model *rcd_onnx_free(rcd_onnx_model *m)
{
    if (m != NULL) {
        char *text = NULL;
        memcpy(&text, &m->doc, sizeof text);
        rcd_free(text);
    }
    rcd_free(m);
    return NULL;
}

static const struct rcd_io io_x = {.name = "x", .dtype = RCD_F32, .rank = 3, .dims = {-1, -1, 2}};
static const struct rcd_io io_h = {.name = "h", .dtype = RCD_F32, .rank = 3, .dims = {1, -1, 4}};
static const struct rcd_io outputs[] = {
    {.name = "y", .dtype = RCD_F32, .rank = 3, .dims = {-1, -1, 2}},
    {.name = "hn", .dtype = RCD_F32, .rank = -1}};

rcd_status rcd_plan_new(rcd_onnx_model **model, const struct rcd_plan_opts *opts,
                        rcd_plan **ret_plan, struct rcd_error *err)
{
    const char *text = (*model)->doc;
    if (strncmp(text, "odd ", 4) == 0)
        return rcd_fail(err, RCD_EMODEL, "%s", text + 4);
    for (size_t i = 0; i < opts->n_states; i++)
        if (strcmp(opts->state_inputs[i], "h") != 0 || strcmp(opts->state_outputs[i], "hn") != 0)
            return rcd_fail(err, RCD_EMODEL, "state: no such pair");
    rcd_plan *p = rcd_calloc(1, sizeof *p);
    if (p == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a plan");
    atomic_init(&p->refs, 1);
    p->inputs[0] = io_x;
    p->inputs[1] = io_h;
    p->inputs[1].optional = opts->n_states > 0;
    p->bytes = strncmp(text, "good ", 5) == 0 ? strtoul(text + 5, NULL, 10) : 1000;
    p->model = *model;
    *model = NULL;
    atomic_fetch_add(&plans, 1);
    *ret_plan = p;
    return RCD_OK;
}

rcd_plan *rcd_plan_ref(rcd_plan *p)
{
    atomic_fetch_add(&p->refs, 1);
    return p;
}

rcd_plan *rcd_plan_unref(rcd_plan *p)
{
    if (p != NULL && atomic_fetch_sub(&p->refs, 1) == 1) {
        atomic_fetch_sub(&plans, 1);
        rcd_onnx_free(p->model);
        rcd_free(p);
    }
    return NULL;
}

const struct rcd_io *rcd_plan_inputs(const rcd_plan *p, size_t *ret_n)
{
    *ret_n = 2;
    return p->inputs;
}

const struct rcd_io *rcd_plan_outputs(const rcd_plan *p, size_t *ret_n)
{
    (void)p;
    *ret_n = RCD_COUNT(outputs);
    return outputs;
}

size_t rcd_plan_bytes(const rcd_plan *p)
{
    return p->bytes;
}

const char *const *rcd_plan_warnings(const rcd_plan *p, size_t *ret_n)
{
    static const char *const text[] = {"node 'n': something to know"};
    *ret_n = strcmp(p->model->doc, "warn") == 0 ? 1 : 0;
    return text;
}

rcd_status rcd_plan_check_inputs(const rcd_plan *p, const struct rcd_infer *req,
                                 struct rcd_error *err)
{
    const struct rcd_tensor *in = req->in;
    for (size_t i = 0; i < 2; i++) {
        if (in[i].dtype == RCD_NONE && !p->inputs[i].optional)
            return rcd_fail(err, RCD_EINVAL, "input '%s' is missing", p->inputs[i].name);
        if (in[i].dtype != RCD_NONE && in[i].rank != 3)
            return rcd_fail(err, RCD_EINVAL, "input '%s' has rank %d, want 3", p->inputs[i].name,
                            in[i].rank);
    }
    return RCD_OK;
}

rcd_exec *rcd_exec_new(size_t max_live_bytes, size_t max_idle_bytes)
{
    (void)max_live_bytes;
    (void)max_idle_bytes;
    return rcd_calloc(1, sizeof(rcd_exec));
}

rcd_exec *rcd_exec_free(rcd_exec *x)
{
    rcd_free(x);
    return NULL;
}

void rcd_exec_run(rcd_exec *x, const rcd_plan *p, size_t n, struct rcd_infer *const *reqs,
                  const volatile bool *cancel)
{
    (void)cancel;
    RCD_ASSERT(n == 1);
    reqs[0]->err.code = RCD_OK;
    const struct rcd_tensor in_x = reqs[0]->in[0];
    pthread_mutex_lock(&last_lock);
    last_x = in_x;
    pthread_mutex_unlock(&last_lock);
    atomic_fetch_add(&runs, 1);
    if (strcmp(p->model->doc, "long") == 0 && in_x.dims[1] < 2) {
        rcd_fail(&reqs[0]->err, RCD_EINVAL, "node 'c' (Conv): too short");
        return;
    }
    x->cell = ((const float *)in_x.data)[0]; /* zeros are there */
    reqs[0]->out[0] = (struct rcd_tensor){.dtype = RCD_F32, .data = &x->cell};
}

void rcd_infer_drop(struct rcd_infer *req, size_t n_outputs)
{
    RCD_ASSERT(n_outputs == RCD_COUNT(outputs));
    memset(req->out, 0, n_outputs * sizeof *req->out);
}

rcd_status rcd_plan_prove_steps(rcd_plan *p, rcd_exec *x, int64_t steps, struct rcd_error *err)
{
    (void)x;
    (void)steps;
    if (strcmp(p->model->doc, "acausal") == 0)
        return rcd_fail(err, RCD_EMODEL, "output 'y' differs");
    return RCD_OK;
}
