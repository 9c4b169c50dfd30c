/* test_tensor.c - tensors over blocks. */
#include "recurd/tensor.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(tensors, .timeout = 400);

Test(tensors, new_and_drop)
{
    rcd_pool *pool = rcd_pool_new(1 << 20, 0);
    struct rcd_error err = {RCD_OK, ""};
    struct rcd_tensor t = {.dtype = RCD_NONE};
    cr_assert_eq(rcd_tensor_new(&t, pool, RCD_F32, 2, (int64_t[]){3, 5}, &err), RCD_OK);
    cr_assert(t.dtype == RCD_F32 && t.rank == 2 && t.n == 15 && t.dims[0] == 3 && t.dims[1] == 5);
    cr_assert_eq(t.data, t.block->data);
    memset(t.data, 0, 15 * sizeof(float));
    struct rcd_tensor alias = t;
    rcd_block_ref(alias.block);
    rcd_tensor_drop(&t);
    cr_assert(t.dtype == RCD_NONE && t.block == NULL && t.data == NULL);
    cr_assert_gt(rcd_pool_live_bytes(pool), 0, "the alias still holds it");
    rcd_tensor_drop(&alias);
    cr_assert_eq(rcd_pool_live_bytes(pool), 0);
    rcd_tensor_drop(&alias);
    rcd_pool_free(pool);
}

Test(tensors, scalar_and_empty)
{
    rcd_pool *pool = rcd_pool_new(1 << 20, 0);
    struct rcd_tensor t;
    cr_assert_eq(rcd_tensor_new(&t, pool, RCD_I64, 0, NULL, NULL), RCD_OK);
    cr_assert(t.n == 1 && t.rank == 0);
    rcd_tensor_drop(&t);
    cr_assert_eq(rcd_tensor_new(&t, pool, RCD_I64, 2, (int64_t[]){0, 4}, NULL), RCD_OK);
    cr_assert(t.n == 0 && t.data != NULL);
    rcd_tensor_drop(&t);
    rcd_pool_free(pool);
}

Test(tensors, failures_name_the_shape)
{
    rcd_pool *pool = rcd_pool_new(1024, 0);
    struct rcd_error err = {RCD_OK, ""};
    struct rcd_tensor t = {.dtype = RCD_BOOL, .n = 42};
    cr_assert_eq(rcd_tensor_new(&t, pool, RCD_F32, 2, (int64_t[]){16, 17}, &err), RCD_ENOMEM);
    cr_assert(strstr(err.text, "float32 tensor [16,17] needs 1088 bytes") != NULL, "%s", err.text);
    cr_assert_eq(rcd_tensor_new(&t, pool, RCD_F32, 2, (int64_t[]){-1, 3}, &err), RCD_ETOOBIG);
    cr_assert(strstr(err.text, "[-1,3]") != NULL, "%s", err.text);
    cr_assert_eq(rcd_tensor_new(&t, pool, RCD_F32, 9, (int64_t[9]){0}, &err), RCD_ETOOBIG);
    cr_assert_eq(err.code, RCD_ETOOBIG);
    rcd_fault_after(0);
    cr_assert_eq(rcd_tensor_new(&t, pool, RCD_F32, 0, NULL, &err), RCD_ENOMEM);
    cr_assert(t.dtype == RCD_BOOL && t.n == 42, "untouched on failure");
    rcd_pool_free(pool);
}

Test(tensors, shape_keeps_data_null)
{
    struct rcd_tensor t = {.data = &t, .dims = {4, 2}};
    cr_assert(rcd_tensor_shape(&t, RCD_U8, 2, t.dims), "own dims are fine");
    cr_assert(t.data == NULL && t.n == 8 && t.dims[0] == 4 && t.dims[2] == 0);
    cr_assert_not(rcd_tensor_shape(&t, RCD_U8, 1, (int64_t[]){-4}));
    cr_assert_eq(t.n, 8);
}
