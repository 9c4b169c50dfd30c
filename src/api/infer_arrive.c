/* infer_arrive.c - steps of sessions that came in one turn of the loop are entered together.
 *
 * A session of a million is in no cache: its place in the table, then its record, then its row and its
 * neighbours in the list are waited for one after the other, some hundred nanoseconds each. So requests
 * that the loop will run itself wait, held, until all that is readable has been read; then the memory of all
 * of them is asked for at once, and each finds its own there. */
#include "infer_int.h"

enum { AT_ONCE = 64 };

bool rcd__infer_arrive(struct rcd__infer *x)
{
    rcd_api *api = x->api;
    if (!x->seq.given || !x->seq.store->here || x->on_graph.graph != NULL)
        return false;
    rcd_http_hold(x->req);
    x->next_arrived = NULL;
    *(api->arrived != NULL ? &api->arrived_tail->next_arrived : &api->arrived) = x;
    api->arrived_tail = x;
    api->pending++;
    return true;
}

/* Those at the head of the list that have the same store. */
static void bring(const struct rcd__infer *x)
{
    const struct rcd_session_id *ids[AT_ONCE];
    struct rcd__store *store = x->seq.store;
    size_t n = 0;
    for (; x != NULL && x->seq.store == store && n < AT_ONCE; x = x->next_arrived)
        ids[n++] = &x->seq.id;
    rcd_sessions_bring(store->sessions, ids, n);
}

void rcd__infer_settle(rcd_api *api)
{
    const struct rcd__store *store = NULL;
    for (size_t n = 0; api->arrived != NULL; n++) {
        struct rcd__infer *x = api->arrived;
        if (x->seq.store != store || n == AT_ONCE) {
            bring(x);
            store = x->seq.store;
            n = 0;
        }
        api->arrived = x->next_arrived;
        api->pending--;
        rcd__infer_submit(x, NULL);
    }
}
