/* small_store.c - see small_store.h. */
#include "small_store.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_event(void *ctx, const struct rcd_session_event *e)
{
    ((struct small *)ctx)->events[e->kind]++;
}

static void on_log(void *ctx, int priority, const char *line)
{
    struct small *m = ctx;
    (void)priority;
    snprintf(m->said + strlen(m->said), sizeof m->said - strlen(m->said), "%s\n", line);
}

void small_folder(char folder[64], bool in_memory)
{
    snprintf(folder, 64, "/dev/shm/recurd-sessions-XXXXXX");
    if (in_memory && mkdtemp(folder) != NULL)
        return;
    snprintf(folder, 64, "/tmp/recurd-sessions-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

void small_open(struct small *m, const struct rcd_sessions_opts *more)
{
    static const struct rcd_state_shape shape = {
        .name = "h", .dtype = RCD_F32, .rank = 3, .dims = {1, 1, 4}};
    struct rcd_sessions_opts opts = more != NULL ? *more : (struct rcd_sessions_opts){.ring = 0};
    memset(m, 0, sizeof *m);
    m->budget.max = 64 << 20;
    opts.model = "m";
    if (opts.states == NULL)
        opts.states = &shape;
    opts.n_states = 1;
    opts.idle_ms = opts.idle_ms != 0 ? opts.idle_ms : 1000000;
    opts.max_bytes = opts.max_bytes != 0 ? opts.max_bytes : 1 << 20;
    opts.budget = &m->budget;
    opts.ctx = m;
    opts.event = on_event;
    opts.log = on_log;
    if (rcd_sessions_new(&opts, &m->s, &m->err) != RCD_OK)
        fprintf(stderr, "%s\n", m->err.text);
    RCD_ASSERT(m->s != NULL);
}

void small_close(struct small *m)
{
    m->s = rcd_sessions_free(m->s);
    RCD_ASSERT(m->budget.used == 0);
}

void small_end(struct small *m, const char *folder)
{
    small_close(m);
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] != '.')
            cr_expect_eq(unlinkat(dirfd(d), e->d_name, 0), 0);
    }
    closedir(d);
    cr_expect_eq(rmdir(folder), 0);
}

struct rcd_session_id number(uint64_t n)
{
    return (struct rcd_session_id){.number = n};
}

struct rcd_session_id text(const char *t)
{
    return (struct rcd_session_id){.text = t, .len = strlen(t)};
}

rcd_status small_step(struct small *m, struct rcd_session_id id, struct rcd_session_turn *turn,
                      float add)
{
    struct rcd_session_ref ref;
    uint32_t use = 0;
    float h[4] = {0};
    bool later = false;
    rcd_status st = rcd_session_enter(m->s, &id, turn->start ? RCD_SESSION_START : 0, &ref, &use,
                                      &m->retry_after_s, &m->err);
    if (st != RCD_OK)
        return st;
    st = rcd_session_begin(m->s, ref, turn, &m->err);
    if (st == RCD_OK && !turn->repeated) {
        if (turn->state != NULL)
            memcpy(h, turn->state, sizeof h);
        for (int i = 0; i < 4; i++)
            h[i] += add;
        struct rcd_tensor t = {.dtype = RCD_F32, .rank = 3, .dims = {1, 1, 4}, .n = 4, .data = h};
        const struct rcd_tensor *const states[] = {&t};
        st = rcd_session_commit(m->s, ref, turn, states, turn->step != 0 ? (void *)h : NULL,
                                turn->step != 0 ? sizeof h : 0, NULL, &later, &m->err);
    }
    rcd_session_drop(m->s, turn);
    rcd_session_leave(m->s, use);
    return st;
}

rcd_status plain_step(struct small *m, struct rcd_session_id id, bool start, float add)
{
    struct rcd_session_turn turn = {.start = start};
    return small_step(m, id, &turn, add);
}

float small_value(struct small *m, struct rcd_session_id id)
{
    char *state = NULL;
    uint64_t steps = 0;
    float h = -1;
    if (rcd_session_state(m->s, &id, &state, &steps, &m->err) != RCD_OK)
        return -1;
    memcpy(&h, state, sizeof h);
    rcd_free(state);
    return h;
}

uint64_t small_steps(struct small *m, struct rcd_session_id id)
{
    struct rcd_session_info info;
    return rcd_session_describe(m->s, &id, &info, &m->err) == RCD_OK ? info.steps : UINT64_MAX;
}
