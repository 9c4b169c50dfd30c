"""The golden networks. Each row: name, graph inputs, layers, exports (exporter and opset; see Row.jobs).

Exports after the bar are made by `make.py --more` only: they keep the tree small.
"""

from row import Input, channels, lengths, mask, row, seq, state, time_major, tokens, vec


def ragged():
    return Input("lengths", ["B"], "shuffled")


# Cells whose loop is unrolled have a fixed number of steps.
STEPS3 = [{"B": 2}, {"B": 1}, {"B": 7}]
LONG = [{"B": 2, "T": 12}, {"B": 1, "T": 25}, {"B": 4, "T": 9}]
ONE_STEP = [{"B": 3, "T": 6}, {"B": 2, "T": 1}, {"B": 1, "T": 3}]

TABLE = [
    # recurrent layers alone
    row("rnn_tanh", [seq(5)], ["rnn 7 states"], "old11 ts14 dyn18 dynraw18", ONE_STEP),
    row("rnn_relu_2l_tf", [time_major(4)], ["rnn 6 layers=2 tf relu"], "old13 dyn20 | ts17"),
    row("rnn_bi_nobias", [seq(4)], ["rnn 5 bi nobias states"], "ts20 dyn18 | old14"),
    row("rnn_4l_bi_init", [seq(3), state("h0", 8, "B", 4)], ["rnn 4 layers=4 bi init states"], "old17 | ts11"),
    row("lstm", [seq(6)], ["lstm 8 states"], "old11 ts12 ts20 dyn16 dyn18 dyn21 dynraw18", ONE_STEP),
    row("lstm_tf", [time_major(6)], ["lstm 9 tf"], "ts15 dyn18 | old12"),
    row("lstm_2l_bi", [seq(5)], ["lstm 6 layers=2 bi states"], "old13 dyn20 | ts16"),
    row("lstm_3l_nobias", [seq(5)], ["lstm 7 layers=3 nobias dropout=0.2"], "ts17 dyn18 | old16"),
    row("lstm_4l", [time_major(3)], ["lstm 5 layers=4 tf states"], "old15 | ts13"),
    row("lstm_init", [seq(4), state("h0", 1, "B", 6), state("c0", 1, "B", 6)], ["lstm 6 init states"], "ts18 dyn18 | old14"),
    row("lstm_2l_bi_init", [seq(4), state("h0", 4, "B", 5), state("c0", 4, "B", 5)], ["lstm 5 layers=2 bi init states"],
        "old17 dyn21 | ts14"),
    row("lstm_zero_state", [seq(4)], ["lstm 6 layers=2 zero states"], "ts17 | old13"),
    row("gru", [seq(6)], ["gru 8 states"], "old11 ts12 ts18 dyn18 dyn20 dynraw18", ONE_STEP),
    row("gru_tf_nobias", [time_major(6)], ["gru 7 tf nobias"], "old14 dyn18 | ts15"),
    row("gru_3l_bi", [seq(4)], ["gru 5 layers=3 bi"], "ts20 dyn21 | old15"),
    row("gru_4l_init", [seq(4), state("h0", 4, "B", 6)], ["gru 6 layers=4 init states"], "old17 dyn18 | ts13"),
    row("gru_wide", [seq(24)], ["gru 24"], "ts17"),
    row("gru_zero_state", [time_major(4)], ["gru 6 bi tf zero states"], "ts18 | old12"),
    # packed sequences
    row("lstm_packed", [seq(5), lengths()], ["lstm 6 packed states"], "old11 ts17"),
    row("lstm_packed_bi_any", [seq(5), ragged()], ["lstm 6 bi packed_any states"], "old13 ts16"),
    row("gru_packed_2l_bi", [seq(4), lengths()], ["gru 5 layers=2 bi packed states"], "old16 ts14"),
    row("gru_packed_any_tf", [time_major(4), ragged()], ["gru 5 tf packed_any"], "old14 | ts20"),
    row("rnn_packed_relu_bi", [seq(4), lengths()], ["rnn 5 bi relu packed states"], "ts18 | old15"),
    row("lstm_packed_init", [seq(4), ragged(), state("h0", 2, "B", 5), state("c0", 2, "B", 5)],
        ["lstm 5 bi init packed_any states"], "old17 | ts13"),
    row("gru_packed_last", [tokens(30), ragged()], ["embed 30 6 pad=0", "gru 7 packed_any only_state", "linear 4"], "old13 old17"),
    # one step and unrolled cells
    row("lstmcell", [vec(6), state("h0", "B", 9), state("c0", "B", 9)], ["lstmcell 9", "linear 3"], "old11 ts17 dyn18", STEPS3),
    row("grucell", [vec(6), state("h0", "B", 8)], ["grucell 8", "act tanh"], "ts20 dyn18 | old13 dyn20", STEPS3),
    row("rnncell", [vec(5), state("h0", "B", 6)], ["rnncell 6 relu nobias"], "old14 dyn21 | ts15", STEPS3),
    row("lstmcell_unrolled", [Input("x", ["B", 3, 4]), state("h0", "B", 5), state("c0", "B", 5)], ["lstmcell 5 unroll=3"],
        "ts13 dyn18 | old16", STEPS3),
    row("grucell_unrolled", [Input("x", ["B", 3, 4]), state("h0", "B", 5)], ["grucell 5 unroll=3"], "old17 | ts18", STEPS3),
    # language-model and tagger shapes
    row("char_model", [tokens(40)], ["embed 40 8", "lstm 12 layers=2", "dropout", "linear 40", "act logsoftmax"],
        "old11 ts17 dyn17 dyn19"),
    row("tagger", [tokens(25)], ["embed 25 6", "gru 7 bi", "layernorm", "linear 5", "shape best"], "ts14 dyn20 | old17"),
    row("classifier_last", [tokens(25)], ["embed 25 6", "rnn 9", "shape last", "linear 4", "act softmax"], "old12 dyn18 | ts18"),
    row("classifier_len", [tokens(25), ragged()], ["embed 25 6 pad=0", "lstm 8", "shape last_len", "linear 3"], "ts16 dyn18 | old13"),
    row("classifier_row", [tokens(25), ragged()], ["embed 25 6", "gru 8", "shape last_row", "linear 3"], "old15 dyn20 | ts17"),
    row("state_reader", [seq(5)], ["lstm 6 layers=2 bi only_state", "linear 2", "act sigmoid"], "ts20 dyn18 | old14"),
    row("time_first_last", [time_major(5)], ["gru 6 tf", "shape last_first", "linear 2"], "old16 dyn21 | ts12"),
    # convolution before recurrence
    row("conv_lstm", [seq(4)], ["conv 6 k=3 pad=1", "act relu", "lstm 7", "linear 2"], "ts17 dyn18 | old13"),
    row("conv_stride_gru", [seq(4)], ["conv 6 k=5 stride=2 pad=2", "act elu", "gru 7"], "old11 | ts20", LONG),
    row("conv_dilated_causal", [seq(4)], ["conv 6 k=3 dil=2 causal", "act leaky", ["conv 6 k=2 dil=4 causal", "act tanh"], "rnn 5"],
        "ts18 dyn18 | old14"),
    row("conv_groups", [seq(6)], ["conv 6 k=3 pad=1 groups=6 nobias", "conv 8 k=1", "conv 4 k=3 groups=2 pad=1"], "old15 dyn20 | ts14"),
    row("conv_reflect", [seq(4)], ["conv 5 k=5 pad=2 mode=reflect", "lstm 4"], "ts13 dyn18 | old16", LONG),
    row("conv_replicate", [seq(4)], ["conv 5 k=3 causal mode=replicate", "gru 4"], "old12 dyn21 | ts17"),
    row("conv_same_raw", [channels(4)], ["conv 5 k=4 same raw", "act softplus"], "ts16 dyn18"),
    row("conv_circular", [seq(3)], ["conv 4 k=3 pad=1 mode=circular"], "ts17 dyn20 | old13", LONG),
    # normalisation, dropout, residual
    row("norm_stack", [seq(8)], ["layernorm", ["gru 8", "dropout"], "layernorm bare", ["linear 8", "act gelu"]],
        "old11 ts16 ts17 dyn18"),
    row("norm_by_hand", [seq(6)], ["freenorm", "linear 5"], "old13 dyn18 | ts18"),
    row("batchnorm", [seq(5)], ["batchnorm", "conv 6 k=3 pad=1", "batchnorm", "act relu", "lstm 4"], "ts15 dyn18 | old14"),
    row("groupnorm", [seq(5)], ["conv 6 k=3 pad=1", "groupnorm 2", "act relu", "lstm 4"], "ts15 dyn21"),
    row("residual_lstm", [seq(6)], [["lstm 6"], ["lstm 6"], ["lstm 6"], "linear 2"], "old15 dyn20 | ts11"),
    row("prelu", [seq(5)], ["prelu", "linear 6", "prelu_channels"], "ts13 dyn18 | old16"),
    row("gated", [seq(5)], ["linear 8", "act glu", "shape halves"], "old12 dyn18 | ts20"),
    # activations
    row("acts_a", [seq(5)], ["fan relu,leaky,elu,selu,silu,softplus,softsign,softplus_beta"], "ts17 dyn18 | old11"),
    row("acts_e", [seq(5)], ["fan celu,gelu,mish"], "old12 ts12 dyn20"),
    row("threshold", [seq(5)], ["fan threshold"], "dyn18"),
    row("acts_b", [seq(5)], ["fan gelu,gelu_tanh,mish,hardsigmoid,hardswish,hardtanh,relu6,clamp,logsigmoid"],
        "old14 ts18 ts20 dyn18 dyn20"),
    row("acts_c", [seq(5)], ["fan abs,exp,sqrt,log,erf,neg,square,cube,sign,floor,ceil,round,reciprocal,rsqrt"], "old13 dyn18 | ts15"),
    row("acts_d", [seq(5)], ["fan softmax,softmax_time,logsoftmax,tanh,sigmoid"], "ts11 dyn21 | old12 ts13"),
    # attention
    row("additive_where", [seq(6), Input("query", ["B", 5]), mask()], ["additive 5"], "old13 dyn18 | ts17"),
    row("additive_fill", [seq(6), Input("query", ["B", 5]), mask()], ["gru 8 bi", "additive 5 fill", "linear 3"], "ts16 dyn20 | old11"),
    row("attn_pool", [seq(5), ragged()], ["lstm 6 bi", "attn_pool", "linear 3"], "old14 dyn18 | ts18"),
    row("heads", [seq(8)], ["layernorm", ["heads 2"], "gru 6"], "ts17 dyn18 | old15"),
    row("heads_causal", [seq(6)], [["heads 3 causal"], "layernorm"], "old16 dyn20 | ts20"),
    row("bmm", [seq(5)], ["bmm"], "ts14 dyn18 | old12"),
    # pooling, picking, moving
    row("pool_mean_max", [seq(5)], ["gru 6", "shape join3", "linear 4"], "old13 dyn18 | ts17"),
    row("pool_mean_len", [seq(5), ragged()], ["gru 6", "shape mean_len"], "ts15 dyn18 | old11"),
    row("pool_max_len", [seq(5), ragged()], ["rnn 6", "shape max_len"], "old14 dyn21 | ts20"),
    row("pool_adaptive", [seq(5)], ["lstm 6", "shape amax"], "ts18 dyn18 | old13"),
    row("slices", [seq(7)], ["shape every_other", "shape drop_ends", "shape narrow", "linear 4"], "old11 dyn18 | ts17", LONG),
    row("split_stack", [seq(8)], ["shape split_three", "shape stack_pair", "shape halves"], "ts18 dyn18 | old12"),
    row("flip_cumsum", [seq(4)], ["shape flip", "shape cumsum", "shape expand_add"], "old13 dyn20 | ts17"),
    row("top_two", [seq(6)], ["linear 5", "shape top_two"], "ts20 dyn18 | old11"),
    row("one_hot", [seq(6)], ["linear 5", "shape one_hot_best"], "old11 dyn18 | ts16"),
    row("output_types", [seq(6)], ["linear 5", "shape types"], "ts17 dyn21 | old13"),
    row("reductions", [seq(5)], ["linear 6", "shape reductions"], "old11 dyn18 | ts13 ts18"),
    row("compare", [seq(5)], ["shape compare"], "ts17 dyn18 | old12"),
    row("shape_maths", [seq(5)], ["shape shape_maths", "shape tri", "shape pad_time", "shape tile"], "old14 dyn18 | ts16"),
    row("double_math", [Input("x", ["B", "T", 4], "double")], ["act tanh", "shape cumsum", "act softmax"], "ts17 dyn18 | old13"),
    # control flow
    row("squeeze_if", [seq(5)], ["gru 6", "shape squeeze_time"], "old11 ts12 ts17 dyn18"),
    row("squeeze_unknown_if", [Input("x", ["B", 1, 4])], ["linear 3", "shape squeeze_unknown"], "old13 | ts17", STEPS3),
    row("branch", [seq(4)], ["linear 5", "branch", "gru 4"], "old13 ts17", note="If made by torch.jit.script"),
    row("branch_nested", [seq(4)], ["linear 5", "branch nested"], "old11 ts16", note="If in If, outer names used inside"),
    row("branch_cond", [seq(4)], ["linear 5", "branch cond"], "dyn18 dynraw20", note="If made by torch.cond"),
    # model-local functions
    row("functions", [seq(6)], ["layernorm", "linear 8", ["gru 8", "act gelu"], "prelu", "linear 3"], "oldfn15 oldfn17"),
    row("functions_text", [tokens(20)], ["embed 20 6", ["linear 6", "act gelu"], "lstm 5 bi", "layernorm", "linear 2"], "oldfn16"),
]
