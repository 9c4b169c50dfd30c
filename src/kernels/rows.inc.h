/* rows.inc.h - sums, maxima, softmax and layer normalisation along one row (body.inc.h).
 *
 * 16 logical lanes on every level: lane l takes elements l, l + 16, ... in order; then the lanes fold
 * 8, 4, 2, 1. So the order of additions depends on the row's length alone. */

static float fold_sum(float *lanes)
{
    for (int step = RCD_LANES / 2; step > 0; step /= 2) {
        for (int l = 0; l < step; l++)
            lanes[l] += lanes[l + step];
    }
    return lanes[0];
}

/* Fewer than 16: lanes that have nothing are +0 and change nothing, since no other is -0. */
static float short_sum(size_t n, const float *x)
{
    float lanes[RCD_LANES] = {0};
    size_t step = RCD_LANES / 2;
    for (size_t l = 0; l < n; l++)
        lanes[l] = 0.0f + x[l];
    while (step >= n && step > 0)
        step /= 2;
    for (; step > 0; step /= 2) {
        for (size_t l = 0; l < step; l++)
            lanes[l] += lanes[l + step];
    }
    return lanes[0];
}

static float row_sum(size_t n, const float *x)
{
    if (n < RCD_LANES)
        return short_sum(n, x);
    vf acc[PER16] = {{0}};
    size_t i = 0;
    for (; i + RCD_LANES <= n; i += RCD_LANES) {
        for (int v = 0; v < PER16; v++)
            acc[v] += v_load(x + i + v * VF_LANES);
    }
    float lanes[RCD_LANES];
    memcpy(lanes, acc, sizeof lanes);
    for (size_t l = 0; i + l < n; l++)
        lanes[l] += x[i + l];
    return fold_sum(lanes);
}

/* short_sum of VF_LANES rows side by side. */
INLINE vf short_sums(size_t n, const float *x)
{
    vf lanes[RCD_LANES];
    size_t step = RCD_LANES / 2;
    for (size_t l = 0; l < RCD_LANES; l++)
        lanes[l] = (vf){0};
    for (size_t l = 0; l < n; l++)
        lanes[l] += v_every(x + l, n);
    while (step >= n)
        step /= 2;
    for (; step > 0; step /= 2) {
        for (size_t l = 0; l < step; l++)
            lanes[l] += lanes[l + step];
    }
    return lanes[0];
}

static void row_sums(size_t rows, size_t n, const float *x, float *y)
{
    size_t r = 0;
    for (; n > 1 && n < RCD_LANES && r + VF_LANES <= rows; r += VF_LANES)
        v_store(y + r, short_sums(n, x + r * n));
    for (; r < rows; r++)
        y[r] = row_sum(n, x + r * n);
}

static float row_max(size_t n, const float *x)
{
    vf acc[PER16];
    for (int v = 0; v < PER16; v++)
        acc[v] = v_set1(-INFINITY);
    size_t i = 0;
    for (; i + RCD_LANES <= n; i += RCD_LANES) {
        for (int v = 0; v < PER16; v++) {
            vf e = v_load(x + i + v * VF_LANES);
            acc[v] = v_select((vi)(e > acc[v]) | (vi)(e != e), e, acc[v]);
        }
    }
    float lanes[2 * RCD_LANES];
    memcpy(lanes, acc, sizeof acc);
    if (n > i) /* x may be NULL when there is nothing */
        memcpy(lanes + RCD_LANES, x + i, (n - i) * sizeof *x);
    float best = -INFINITY;
    for (size_t l = 0; l < RCD_LANES + n - i; l++)
        best = lanes[l] > best || lanes[l] != lanes[l] ? lanes[l] : best;
    return best;
}

static void softmax(size_t n, const float *x, float *y, bool log_of)
{
    const vf max = v_set1(row_max(n, x));
    vf acc[PER16] = {{0}};
    size_t whole = n / RCD_LANES * RCD_LANES;
    for (size_t i = 0; i < whole; i += RCD_LANES) {
        for (int v = 0; v < PER16; v++) {
            vf e = v_exp(v_load(x + i + v * VF_LANES) - max);
            acc[v] += e;
            if (!log_of)
                v_store(y + i + v * VF_LANES, e);
        }
    }
    float lanes[RCD_LANES];
    memcpy(lanes, acc, sizeof lanes);
    for (size_t i = whole; i < n; i += VF_LANES) {
        vf e = v_exp(v_loadn(x + i, n - i) - max);
        float tmp[VF_LANES];
        memcpy(tmp, &e, sizeof tmp);
        for (size_t l = 0; l < VF_LANES && i + l < n; l++)
            lanes[i - whole + l] += tmp[l];
        if (!log_of)
            v_storen(y + i, e, n - i);
    }
    float sum = fold_sum(lanes);
    const vf log_sum = v_set1(log_of ? (float)log((double)sum) : 0.0f), all = v_set1(sum);
    for (size_t i = 0; i < n; i += VF_LANES) {
        vf v = log_of ? v_loadn(x + i, n - i) - max - log_sum : v_loadn(y + i, n - i) / all;
        v_storen(y + i, v, n - i);
    }
}

/* Sum of (x - mean)^2 in the same lanes. */
static float row_spread(size_t n, const float *x, float mean)
{
    const vf m = v_set1(mean);
    vf acc[PER16] = {{0}};
    size_t i = 0;
    for (; i + RCD_LANES <= n; i += RCD_LANES) {
        for (int v = 0; v < PER16; v++) {
            vf d = v_load(x + i + v * VF_LANES) - m;
            acc[v] = v_fma(d, d, acc[v]);
        }
    }
    float lanes[RCD_LANES];
    memcpy(lanes, acc, sizeof lanes);
    for (size_t l = 0; i + l < n; l++) {
        float d = x[i + l] - mean;
        lanes[l] = fmaf(d, d, lanes[l]);
    }
    return fold_sum(lanes);
}

static void layer_norm(size_t n, const float *x, const float *scale, const float *bias, float eps,
                       float *y, float *ret_mean, float *ret_inv)
{
    float mean = row_sum(n, x) / (float)n;
    float inv = 1.0f / sqrtf(row_spread(n, x, mean) / (float)n + eps);
    const vf m = v_set1(mean), s = v_set1(inv), one = v_set1(1.0f), zero = v_set1(0.0f);
    for (size_t i = 0; i < n; i += VF_LANES) {
        vf v = (v_loadn(x + i, n - i) - m) * s;
        vf a = scale != NULL ? v_loadn(scale + i, n - i) : one;
        vf b = bias != NULL ? v_loadn(bias + i, n - i) : zero;
        v_storen(y + i, v_fma(v, a, b), n - i);
    }
    if (ret_mean != NULL)
        *ret_mean = mean;
    if (ret_inv != NULL)
        *ret_inv = inv;
}

static void axpy(size_t n, float a, const float *x, float *y)
{
    const vf s = v_set1(a);
    for (size_t i = 0; i < n; i += VF_LANES)
        v_storen(y + i, v_fma(s, v_loadn(x + i, n - i), v_loadn(y + i, n - i)), n - i);
}
