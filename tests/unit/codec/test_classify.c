/* test_classify.c - the k best, as text. */
#include "recurd/codec.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TestSuite(classify, .timeout = 400);

static struct rcd_tensor tensor(rcd_dtype dtype, int rank, const int64_t *dims, const void *data)
{
    struct rcd_tensor t;
    cr_assert(rcd_tensor_shape(&t, dtype, rank, dims));
    t.data = (void *)(uintptr_t)data;
    return t;
}

/* All elements joined by blanks. */
static void classes_are(const struct rcd_tensor *t, uint64_t k, const char *const *labels,
                        size_t n_labels, const char *want)
{
    struct rcd_arena arena;
    struct rcd_tensor got = {.dtype = RCD_NONE};
    struct rcd_error err;
    char text[500] = "";
    size_t at = 0;
    rcd_arena_init(&arena, 1 << 16);
    cr_assert_eq(rcd_wire_classify(&arena, t, k, labels, n_labels, &got, &err), RCD_OK, "%s",
                 err.text);
    cr_assert(got.dtype == RCD_BYTES && got.rank == t->rank);
    for (size_t i = 0; i < got.n; i++) {
        const struct rcd_bytes *b = (const struct rcd_bytes *)got.data + i;
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s", i > 0 ? " " : "", (int)b->len,
                               b->ptr);
    }
    cr_assert_str_eq(text, want);
    int64_t n = t->dims[t->rank - 1];
    cr_assert_eq(got.dims[t->rank - 1], k < (uint64_t)n ? (int64_t)k : n);
    rcd_arena_done(&arena);
}

Test(classify, order_ties_and_labels)
{
    static const float p[] = {0.1f, 0.5f, 0.1f, 0.25f, 0.5f, 0.05f};
    static const char *const labels[] = {"zero", "one", "", "three:x", NULL};
    struct rcd_tensor t = tensor(RCD_F32, 1, (int64_t[]){6}, p);
    classes_are(&t, 1, NULL, 0, "0.5:1");
    classes_are(&t, 4, NULL, 0, "0.5:1 0.5:4 0.25:3 0.1:0");
    classes_are(&t, 4, labels, 5, "0.5:1:one 0.5:4 0.25:3:three:x 0.1:0:zero");
    classes_are(&t, UINT64_MAX, NULL, 0, "0.5:1 0.5:4 0.25:3 0.1:0 0.1:2 0.05:5");
    t = tensor(RCD_F32, 2, (int64_t[]){2, 3}, p);
    classes_are(&t, 2, labels, 2, "0.5:1:one 0.1:0:zero 0.5:1:one 0.25:0:zero");
    t = tensor(RCD_F32, 3, (int64_t[]){3, 1, 2}, p);
    classes_are(&t, 1, NULL, 0, "0.5:1 0.25:1 0.5:0");
    t = tensor(RCD_F32, 2, (int64_t[]){3, 0}, p);
    classes_are(&t, 1, NULL, 0, "");
    t = tensor(RCD_F32, 2, (int64_t[]){0, 3}, p);
    classes_are(&t, 1, NULL, 0, "");
}

Test(classify, every_type)
{
    struct rcd_tensor t =
        tensor(RCD_F64, 1, (int64_t[]){4}, (double[]){-1, NAN, INFINITY, -INFINITY});
    classes_are(&t, 4, NULL, 0, "Infinity:2 -1:0 -Infinity:3 NaN:1");
    t = tensor(RCD_F32, 1, (int64_t[]){3}, (float[]){-0.0f, 0.0f, -1e-45f});
    classes_are(&t, 3, NULL, 0, "-0.0:0 0:1 -1e-45:2");
    t = tensor(RCD_F16, 1, (int64_t[]){2}, (uint16_t[]){0x3c00, 0x4000});
    classes_are(&t, 2, NULL, 0, "2:1 1:0");
    t = tensor(RCD_BF16, 1, (int64_t[]){2}, (uint16_t[]){0x3f80, 0xbf80});
    classes_are(&t, 2, NULL, 0, "1:0 -1:1");
    t = tensor(RCD_I8, 1, (int64_t[]){3}, (int8_t[]){-128, 127, -1});
    classes_are(&t, 3, NULL, 0, "127:1 -1:2 -128:0");
    t = tensor(RCD_I64, 1, (int64_t[]){3}, (int64_t[]){INT64_MAX - 1, INT64_MIN, INT64_MAX});
    classes_are(&t, 3, NULL, 0,
                "9223372036854775807:2 9223372036854775806:0 -9223372036854775808:1");
    t = tensor(RCD_U64, 1, (int64_t[]){2}, (uint64_t[]){1, UINT64_MAX});
    classes_are(&t, 1, NULL, 0, "18446744073709551615:1");
    t = tensor(RCD_BOOL, 1, (int64_t[]){3}, (uint8_t[]){0, 1, 1});
    classes_are(&t, 2, NULL, 0, "1:1 1:2");
}

Test(classify, agrees_with_sorting)
{
    uint64_t state = 5;
    static int32_t v[200];
    struct rcd_arena arena;
    struct rcd_error err;
    for (int round = 0; round < 200; round++) {
        int64_t n = 1 + round;
        for (int64_t i = 0; i < n; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            v[i] = (int32_t)(state >> 59); /* many ties */
        }
        struct rcd_tensor t = tensor(RCD_I32, 1, &n, v), got;
        uint64_t k = 1 + state % (uint64_t)n;
        rcd_arena_init(&arena, 1 << 20);
        cr_assert_eq(rcd_wire_classify(&arena, &t, k, NULL, 0, &got, &err), RCD_OK);
        bool taken[200] = {false};
        for (size_t i = 0; i < got.n; i++) {
            int64_t best = -1;
            for (int64_t j = 0; j < n; j++)
                if (!taken[j] && (best < 0 || v[j] > v[best]))
                    best = j;
            taken[best] = true;
            char want[32];
            snprintf(want, sizeof want, "%d:%lld", v[best], (long long)best);
            const struct rcd_bytes *b = (const struct rcd_bytes *)got.data + i;
            cr_assert(b->len == strlen(want) && memcmp(b->ptr, want, b->len) == 0,
                      "%d, %zu: %.*s, want %s", round, i, (int)b->len, b->ptr, want);
        }
        rcd_arena_done(&arena);
    }
}

Test(classify, refused)
{
    struct rcd_arena arena;
    struct rcd_tensor got;
    struct rcd_error err;
    float one[200] = {1};
    struct rcd_tensor scalar = tensor(RCD_F32, 0, NULL, one),
                      row = tensor(RCD_F32, 1, (int64_t[]){200}, one);
    struct rcd_tensor text = tensor(RCD_BYTES, 1, (int64_t[]){1}, (struct rcd_bytes[]){{"a", 1}});
    rcd_arena_init(&arena, 4000);
    cr_assert_eq(rcd_wire_classify(&arena, &scalar, 1, NULL, 0, &got, &err), RCD_EINVAL);
    cr_assert_eq(rcd_wire_classify(&arena, &text, 1, NULL, 0, &got, &err), RCD_EINVAL);
    cr_assert(strstr(err.text, "got BYTES of rank 1") != NULL);
    cr_assert_eq(rcd_wire_classify(&arena, &row, 0, NULL, 0, &got, &err), RCD_EINVAL);
    cr_assert_eq(rcd_wire_classify(&arena, &row, 200, NULL, 0, &got, &err), RCD_ENOMEM);
    rcd_arena_done(&arena);
}
