/* set.inc.h - a const table of the kernels that body.inc.h compiled. KERNELS_SET: its name; KERNELS_INT8:
 * the product over int8 weights, the one kernel that differs between variants of a level. */
static const struct rcd_kernels KERNELS_SET = {
    .level = KERNELS_LEVEL,
    .name = KERNELS_NAME,
    .gemm = gemm,
    .lstm_step = lstm_step,
    .gru_step = gru_step,
    .rnn_step = rnn_step,
    .unary = unary,
    .sum = row_sum,
    .sums = row_sums,
    .max = row_max,
    .softmax = softmax,
    .layer_norm = layer_norm,
    .axpy = axpy,
    .spmm = spmm,
#ifdef v_expand
    .squeeze = squeeze,
#endif
    .edge_step = edge_step,
    .edge_softmax = edge_softmax,
    .gemm_bf16 = gemm_bf16,
    .gemm_int8 = KERNELS_INT8,
    .lstm_gates = lstm_gates,
    .gru_linear_gates = gru_linear_gates,
    .gru_reset = gru_reset,
    .gru_blend = gru_blend_rows,
};
#undef KERNELS_SET
#undef KERNELS_INT8
