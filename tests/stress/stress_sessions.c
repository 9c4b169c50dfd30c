/* stress_sessions.c - a store under ThreadSanitizer: a loop that lets requests in and out, workers that
 * commit, the store's own thread, and threads that make, fork, set, rewind, snapshot, list and end sessions
 * meanwhile. A plain program, because criterion does not run under ThreadSanitizer.
 *
 *   stress_sessions [requests per round]     exit status 0: every request ended once, no state is torn */
#include "recurd/sessions.h"

#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_IDS = 40, N_WORKERS = 2, N_CALLERS = 2, IN_FLIGHT = 32, WIDTH = 64 };

struct request {
    struct request *next;
    struct rcd_session_ref ref;
    struct rcd_session_turn turn;
    uint32_t use;
    size_t id;
    rcd_status st;
    unsigned ended;
};

struct list {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct request *head, **tail;
    bool closed;
};

static rcd_sessions *store;
static struct list todo, done;
static atomic_bool stop;
static atomic_size_t n_steps, n_calls, n_torn;

static void list_init(struct list *l)
{
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->more, NULL);
    l->head = NULL;
    l->tail = &l->head;
    l->closed = false;
}

static void push(struct list *l, struct request *r)
{
    pthread_mutex_lock(&l->lock);
    r->next = NULL;
    *l->tail = r;
    l->tail = &r->next;
    pthread_cond_signal(&l->more);
    pthread_mutex_unlock(&l->lock);
}

/* NULL: closed and empty. */
static struct request *pop(struct list *l)
{
    pthread_mutex_lock(&l->lock);
    while (l->head == NULL && !l->closed)
        pthread_cond_wait(&l->more, &l->lock);
    struct request *r = l->head;
    if (r != NULL && (l->head = r->next) == NULL)
        l->tail = &l->head;
    pthread_mutex_unlock(&l->lock);
    return r;
}

static uint32_t random_below(uint64_t *seed, uint32_t n)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % n;
}

static struct rcd_session_id id_of(size_t i)
{
    static const char *const names[] = {"a", "b", "a name that has more than 24 bytes"};
    if (i % 10 < 3 && i < 10)
        return (struct rcd_session_id){.text = names[i % 10], .len = strlen(names[i % 10])};
    return (struct rcd_session_id){.number = i + 1};
}

/* All numbers of a state are equal, whoever wrote it. */
static void look(const float *h)
{
    for (int i = 1; h != NULL && i < WIDTH; i++) {
        if (memcmp(&h[i], &h[0], sizeof *h) != 0) {
            atomic_fetch_add(&n_torn, 1);
            return;
        }
    }
}

static struct rcd_tensor tensor_of(float *h)
{
    return (struct rcd_tensor){
        .dtype = RCD_F32, .rank = 3, .dims = {1, 1, WIDTH}, .n = WIDTH, .data = h};
}

static void run(struct request *r)
{
    struct rcd_error err;
    float h[WIDTH] = {0};
    bool later = false;
    rcd_status st = rcd_session_begin(store, r->ref, &r->turn, &err);
    if (st == RCD_OK && !r->turn.repeated) {
        if (r->turn.state != NULL)
            memcpy(h, r->turn.state, sizeof h);
        look(h);
        for (int i = 0; i < WIDTH; i++)
            h[i] += 1;
        struct rcd_tensor t = tensor_of(h);
        const struct rcd_tensor *const states[] = {&t};
        st = rcd_session_commit(store, r->ref, &r->turn, states, h, sizeof h, r, &later, &err);
    }
    atomic_fetch_add(&n_steps, st == RCD_OK);
    if (later)
        return; /* it belongs to the store, or is over already */
    r->st = st;
    push(&done, r);
}

static void committed(void *cookie, const struct rcd_error *err)
{
    struct request *r = cookie;
    r->st = err->code;
    push(&done, r);
}

static void *worker(void *arg)
{
    (void)arg;
    for (struct request *r; (r = pop(&todo)) != NULL;)
        run(r);
    return NULL;
}

static void call(uint64_t *seed)
{
    struct rcd_session_id id = id_of(random_below(seed, N_IDS)),
                          other = id_of(random_below(seed, N_IDS));
    struct rcd_error err;
    struct rcd_sessions_stats stats;
    struct rcd_session_cursor cursor = {.at = 0};
    struct rcd_session_info info;
    struct rcd_buf bytes;
    size_t most = 100;
    uint64_t steps = 0;
    bool end = false;
    char *state = NULL;
    float h[WIDTH];
    for (int i = 0; i < WIDTH; i++)
        h[i] = (float)random_below(seed, 1) + 5;
    struct rcd_tensor t = tensor_of(h);
    const struct rcd_tensor *const states[] = {&t};
    rcd_status st = RCD_OK;
    rcd_buf_init(&bytes, 1 << 20);
    switch (random_below(seed, 11)) {
    case 0:
        st = rcd_session_create(store, &id, states, NULL, &err);
        break;
    case 1:
        st = rcd_session_fork(store, &id, &other, NULL, &err);
        break;
    case 2:
        st = rcd_session_set(store, &id, states, &err);
        break;
    case 3:
        st = rcd_session_snapshot(store, &id, "s", 1, &steps, &err);
        break;
    case 4:
        st = rcd_session_rewind(store, &id, random_below(seed, 2) ? "s" : NULL, 1, 1, &err);
        break;
    case 5:
        st = rcd_session_end(store, &id, &err);
        break;
    case 6:
        while (rcd_session_next(store, &cursor, &most, &info, &end))
            steps += info.steps;
        break;
    case 7:
        rcd_sessions_tick(store, 0);
        rcd_sessions_stats(store, &stats);
        break;
    case 8:
        st = rcd_session_export(store, &id, &bytes, &err);
        if (st == RCD_OK)
            st = rcd_session_import(store, &other, bytes.data, bytes.len, false, NULL, &err);
        break;
    case 9:
        st = rcd_session_forget(store, &id, "s", 1, &err);
        break;
    default:
        if (rcd_session_state(store, &id, &state, &steps, &err) == RCD_OK) {
            memcpy(h, state, sizeof h);
            look(h);
        }
        rcd_free(state);
    }
    rcd_buf_done(&bytes);
    atomic_fetch_add(&n_calls, st == RCD_OK);
}

static void *caller(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    while (!atomic_load(&stop))
        call(&seed);
    return NULL;
}

/* The loop: at most one request of a session is given to the workers, as the scheduler does it. */
static bool feed(size_t n)
{
    struct request *all = calloc(n, sizeof *all);
    static size_t in_flight[N_IDS];
    size_t given = 0, out = 0;
    uint64_t seed = 7;
    bool good = true;
    for (size_t i = 0; i < n || out > 0;) {
        size_t id = random_below(&seed, N_IDS);
        if (i < n && given < IN_FLIGHT && in_flight[id] == 0) {
            struct request *r = &all[i++];
            struct rcd_session_id name = id_of(id);
            struct rcd_error err;
            unsigned retry_after_s = 0;
            r->id = id;
            r->turn = (struct rcd_session_turn){.start = random_below(&seed, 20) == 0,
                                                .end = random_below(&seed, 30) == 0,
                                                .row = UINT32_MAX};
            if (rcd_session_enter(store, &name, RCD_SESSION_START, &r->ref, &r->use, &retry_after_s,
                                  &err) != RCD_OK) {
                r->ended = 1;
                continue;
            }
            in_flight[id]++;
            given++;
            out++;
            push(&todo, r);
            continue;
        }
        struct request *r = out > 0 ? pop(&done) : NULL;
        if (r == NULL)
            continue;
        rcd_session_drop(store, &r->turn);
        (void)rcd_session_leave(store, r->use);
        r->ended++;
        in_flight[r->id]--;
        given--;
        out--;
    }
    for (size_t i = 0; i < n; i++)
        good = good && all[i].ended == 1;
    free(all);
    return good;
}

static bool round_of(size_t n, const char *folder, rcd_durable durable, rcd_overflow overflow)
{
    static const struct rcd_state_shape shape = {
        .name = "h", .dtype = RCD_F32, .rank = 3, .dims = {1, 1, WIDTH}};
    struct rcd_session_budget budget = {.max = 1 << 24};
    char path[200];
    struct rcd_error err = {.text = ""};
    pthread_t threads[N_WORKERS + N_CALLERS];
    snprintf(path, sizeof path, "%s/%d-%d", folder, (int)durable, (int)overflow);
    const struct rcd_sessions_opts opts = {.model = "m",
                                           .states = &shape,
                                           .n_states = 1,
                                           .idle_ms = 40,
                                           .max_bytes =
                                               overflow == RCD_OVERFLOW_SPILL ? 24000 : 1 << 20,
                                           .overflow = overflow,
                                           .durable = durable,
                                           .ring = 1,
                                           .snapshot_interval_ms = 5,
                                           .budget = &budget,
                                           .path = path,
                                           .committed = committed};
    if (rcd_sessions_new(&opts, &store, &err) != RCD_OK) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    list_init(&todo);
    list_init(&done);
    atomic_store(&stop, false);
    atomic_store(&n_steps, 0);
    atomic_store(&n_calls, 0);
    for (size_t i = 0; i < N_WORKERS; i++)
        pthread_create(&threads[i], NULL, worker, NULL);
    for (size_t i = 0; i < N_CALLERS; i++)
        pthread_create(&threads[N_WORKERS + i], NULL, caller, (void *)(uintptr_t)(i + 1));
    bool good = feed(n);
    atomic_store(&stop, true);
    pthread_mutex_lock(&todo.lock);
    todo.closed = true;
    pthread_cond_broadcast(&todo.more);
    pthread_mutex_unlock(&todo.lock);
    for (size_t i = 0; i < N_WORKERS + N_CALLERS; i++)
        pthread_join(threads[i], NULL);
    store = rcd_sessions_free(store);
    printf("%s, overflow %d: %zu requests, %zu steps, %zu calls\n", rcd_durable_name(durable),
           (int)overflow, n, atomic_load(&n_steps), atomic_load(&n_calls));
    return good && atomic_load(&n_torn) == 0 && budget.used == 0 && atomic_load(&n_steps) > n / 3;
}

static bool clear(const char *folder)
{
    DIR *d = opendir(folder);
    for (const struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] != '.')
            (void)unlinkat(dirfd(d), e->d_name, 0);
    }
    return d != NULL && closedir(d) == 0 && rmdir(folder) == 0;
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 3000;
    char folder[] = "/tmp/recurd-stress-XXXXXX";
    if (mkdtemp(folder) == NULL)
        return 2;
    bool good = round_of(n, folder, RCD_DURABLE_COMMIT, RCD_OVERFLOW_REJECT) &&
                round_of(n, folder, RCD_DURABLE_SNAPSHOT, RCD_OVERFLOW_LRU) &&
                round_of(n, folder, RCD_DURABLE_PROCESS, RCD_OVERFLOW_SPILL) &&
                round_of(n, folder, RCD_DURABLE_COMMIT, RCD_OVERFLOW_SPILL);
    return clear(folder) && good ? 0 : 1;
}
