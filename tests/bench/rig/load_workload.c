/* load_workload.c - the file of classes and requests, and drawing jobs from it.
 *
 * The file: lines "class NAME WEIGHT SESSIONS", each followed by its requests: a line
 * "request UNITS BYTES", so many bytes (an HTTP request, head and body), a line end. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

static const char id_place[] = "@@@@@@@@@@@@@@@@@@@@", start_place[] = "#####";
enum { ID_LEN = sizeof id_place - 1, START_LEN = sizeof start_place - 1 };
static const uint64_t IDS_PER_CLASS = 1000000000u;

static _Noreturn void bad(const char *path, const char *what)
{
    fprintf(stderr, "load: %s: %s\n", path, what);
    exit(2);
}

static size_t place(const char *bytes, size_t len, const char *what, size_t what_len)
{
    const char *at = memmem(bytes, len, what, what_len);
    return at == NULL ? SIZE_MAX : (size_t)(at - bytes);
}

static void read_class(struct workload *w, const char *line, const char *path)
{
    struct class *k = &w->classes[w->n_classes];
    if (w->n_classes == CLASSES_MAX ||
        sscanf(line, "class %31s %lf %u", k->name, &k->weight, &k->n_sessions) != 3 ||
        k->weight <= 0.0)
        bad(path, "too many classes, or not: class NAME WEIGHT SESSIONS");
    w->n_classes++;
    k->first_id = w->n_classes * IDS_PER_CLASS;
    if (k->n_sessions > 0 && (k->session = calloc(k->n_sessions, 1)) == NULL)
        bad(path, "no memory");
    w->weights += k->weight;
}

static void read_request(struct workload *w, FILE *f, const char *line, const char *path)
{
    struct request q = {0};
    if (w->n_classes == 0 || sscanf(line, "request %lf %zu", &q.units, &q.len) != 2 || q.len == 0)
        bad(path, "not: request UNITS BYTES, after a class");
    struct class *k = &w->classes[w->n_classes - 1];
    char *bytes = malloc(q.len);
    struct request *more = realloc(k->requests, (k->n_requests + 1) * sizeof *more);
    if (bytes == NULL || more == NULL)
        bad(path, "no memory");
    if (fread(bytes, 1, q.len, f) != q.len || fgetc(f) != '\n')
        bad(path, "a request is not as long as its line says");
    q.bytes = bytes;
    q.id_at = q.start_at = SIZE_MAX;
    if (k->n_sessions > 0) {
        q.id_at = place(bytes, q.len, id_place, ID_LEN);
        q.start_at = place(bytes, q.len, start_place, START_LEN);
        if (q.id_at == SIZE_MAX || q.start_at == SIZE_MAX)
            bad(path, "a session's request without places for its id and start flag");
        w->patch_max = q.len > w->patch_max ? q.len : w->patch_max;
    }
    k->requests = more;
    k->requests[k->n_requests++] = q;
}

void workload_read(struct workload *w, const char *path)
{
    char line[256];
    FILE *f = fopen(path, "rb");
    *w = (struct workload){0};
    if (f == NULL)
        bad(path, "cannot be opened");
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "class ", 6) == 0)
            read_class(w, line, path);
        else
            read_request(w, f, line, path);
    }
    fclose(f);
    for (size_t i = 0; i < w->n_classes; i++)
        if (w->classes[i].n_requests == 0)
            bad(path, "a class without requests");
    if (w->n_classes == 0)
        bad(path, "no class");
}

uint64_t draw(uint64_t *seed) /* splitmix64 */
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double draw_unit(uint64_t *seed)
{
    return (double)((draw(seed) >> 11) + 1) * 0x1p-53;
}

struct job draw_job(struct workload *w, uint64_t *seed, uint64_t due, uint32_t bound)
{
    enum { TRIES = 16 };
    double x = draw_unit(seed) * w->weights;
    size_t i = 0;
    while (i + 1 < w->n_classes && x > w->classes[i].weight)
        x -= w->classes[i++].weight;
    struct class *k = &w->classes[i];
    struct job job = {.due = due, .class = k, .request = &k->requests[draw(seed) % k->n_requests]};
    if (k->n_sessions > 0) {
        for (int t = 0; t < TRIES; t++) {
            job.session = (bound == UINT32_MAX ? (uint32_t)draw(seed) : bound) % k->n_sessions;
            if (bound != UINT32_MAX || (k->session[job.session] & SESSION_BUSY) == 0)
                break;
        }
        k->session[job.session] |= SESSION_BUSY;
    }
    return job;
}

void job_patch(const struct job *job, char *out)
{
    const struct request *q = job->request;
    bool start = (job->class->session[job->session] & SESSION_STARTED) == 0;
    char id[ID_LEN + 1];
    memcpy(out, q->bytes, q->len);
    snprintf(id, sizeof id, "%*llu", ID_LEN,
             (unsigned long long)(job->class->first_id + job->session));
    memcpy(out + q->id_at, id, ID_LEN);
    memcpy(out + q->start_at, start ? "true " : "false", START_LEN);
}

void job_done(const struct job *job, bool ok)
{
    if (job->class->n_sessions > 0) {
        job->class->session[job->session] &= (uint8_t)~SESSION_BUSY;
        if (ok)
            job->class->session[job->session] |= SESSION_STARTED;
    }
}
