/* table.c - every operator of the engine, found by name, domain and opset. */
#include "ops.h"

#include <string.h>

static const struct rcd_op_list *const lists[] = {
#define X(name) &rcd__ops_##name,
    RCD_OP_LISTS(X)
#undef X
};

const struct rcd_op *rcd__op_find(const char *domain, const char *name, int opset, bool *ret_known)
{
    *ret_known = false;
    for (size_t l = 0; l < RCD_COUNT(lists); l++) {
        for (size_t i = 0; i < lists[l]->n; i++) {
            const struct rcd_op *op = &lists[l]->ops[i];
            if (strcmp(op->name, name) != 0 ||
                strcmp(op->domain != NULL ? op->domain : "", domain) != 0)
                continue;
            *ret_known = true;
            if (opset >= op->since && (op->until == 0 || opset <= op->until))
                return op;
        }
    }
    return NULL;
}

bool rcd__is_op(const struct rcd_node *node, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n && node->op->domain == NULL; i++) {
        if (strcmp(node->op->name, names[i]) == 0)
            return true;
    }
    return false;
}
