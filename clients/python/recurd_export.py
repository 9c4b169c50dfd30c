"""recurd_export.py - PyTorch Geometric models to ONNX files that are right for every graph.

    import recurd_export
    recurd_export.export(model, (x, edge_index), "model.onnx", input_names=["x", "edge_index"], output_names=["y"])

torch.onnx.export alone stops at some layers and freezes what the example had: the number of graphs of a pooling, the self-loops
of a weighted GCN. Here the functions of PyTorch Geometric under those layers are replaced while the model is traced; the
model itself is left alone. Works for PyTorch 2.13 and PyTorch Geometric 2.8; copy the file, it needs nothing else.

Graph-level models: one row for each number up to the largest in `batch`."""

import contextlib
import inspect
import sys
import textwrap
import warnings

import torch
import torch_geometric
import torch_geometric.nn
from torch_geometric.nn.aggr.base import Aggregation
from torch_geometric.nn.pool.select import topk as topk_module
from torch_geometric.utils import loop as loop_module
from torch_geometric.utils import num_nodes as num_nodes_module

# Which axes of an input vary, by its name: used where `dynamic_axes` does not say.
AXES = {"x": {0: "nodes"}, "batch": {0: "nodes"}, "h": {0: "nodes"}, "pos": {0: "nodes"}, "edge_index": {1: "edges"},
        "edge_weight": {0: "edges"}, "edge_attr": {0: "edges"}, "edge_type": {0: "edges"}, "pairs": {1: "pairs"},
        "edge_label_index": {1: "pairs"}, "laplacian_basis": {0: "nodes"}}


def _whole(end):
    """The number in a tensor as a size that the trace follows."""
    return torch.arange(end).size(0)


def _count(index):
    """How many groups: the largest index and one, 0 where there is none."""
    return _whole(torch.cat([index.reshape(-1), index.new_full((1,), -1)]).max() + 1)


def _spread(index, like, dim):
    return index.view([-1 if d == dim else 1 for d in range(like.dim())]).expand_as(like)


class _Reduce(torch.autograd.Function):
    """scatter_reduce by max, min or mul, `base` included, as one ScatterElements."""

    @staticmethod
    def forward(ctx, base, index, src, dim, how):
        return base.scatter_reduce(dim, index, src, {"mul": "prod"}.get(how, "a" + how), include_self=True)

    @staticmethod
    def symbolic(g, base, index, src, dim, how):
        return g.op("ScatterElements", base, index, src, axis_i=dim, reduction_s=how).setType(base.type())


def scatter(src, index, dim=0, dim_size=None, reduce="sum"):
    dim = dim + src.dim() if dim < 0 else dim
    dim_size = _count(index) if dim_size is None else dim_size
    shape = list(src.shape)
    shape[dim] = dim_size
    if reduce in ("sum", "add"):
        return src.new_zeros(shape).scatter_add(dim, _spread(index, src, dim), src)
    if reduce == "mean":
        total = src.new_zeros(shape).scatter_add(dim, _spread(index, src, dim), src)
        count = src.new_zeros([dim_size]).scatter_add(0, index, src.new_ones([src.size(dim)]))
        return total / count.clamp(min=1).view([-1 if d == dim else 1 for d in range(src.dim())])
    if reduce == "mul":
        return _Reduce.apply(src.new_ones(shape), _spread(index, src, dim), src, dim, "mul")
    if reduce in ("max", "min", "amax", "amin"):
        how = reduce[-3:]
        if src.dtype.is_floating_point:
            worst = float("-inf") if how == "max" else float("inf")
        else:
            worst = torch.iinfo(src.dtype).min if how == "max" else torch.iinfo(src.dtype).max
        best = _Reduce.apply(src.new_full(shape, worst), _spread(index, src, dim), src, dim, how)
        return torch.where(best == worst, torch.zeros_like(best), best)
    raise ValueError(f"recurd_export: scatter with reduce='{reduce}' is not exported")


def add_remaining_self_loops(edge_index, edge_attr=None, fill_value=None, num_nodes=None):
    n = num_nodes_module.maybe_num_nodes(edge_index, num_nodes)
    nodes = torch.arange(n)
    keep = edge_index[0] != edge_index[1]
    if edge_attr is not None:
        # the last loop of a node keeps what it has; row E + i of the table is what node i gets without one
        place = torch.where(keep, torch.full_like(edge_index[0], -1), torch.arange(edge_index.size(1)))
        last = _Reduce.apply(torch.full_like(nodes, -1), edge_index[0], place, 0, "max")
        filled = loop_module.compute_loop_attr(edge_index, edge_attr, n, False, fill_value)
        table = torch.cat([edge_attr, filled.to(edge_attr.dtype)])
        loops = table[torch.where(last >= 0, last, nodes + edge_index.size(1))]
        edge_attr = torch.cat([edge_attr[keep], loops])
    return torch.cat([edge_index[:, keep], nodes.view(1, -1).repeat(2, 1)], 1), edge_attr


def to_dense_batch(x, batch=None, fill_value=0.0, max_num_nodes=None, batch_size=None):
    if batch is None and max_num_nodes is None:
        return x.unsqueeze(0), torch.ones_like(x[:, 0], dtype=torch.bool).unsqueeze(0)
    batch = x.new_zeros([x.size(0)], dtype=torch.long) if batch is None else batch
    graphs = _count(batch) if batch_size is None else batch_size
    size = scatter(torch.ones_like(batch), batch, 0, graphs)
    place = torch.arange(x.size(0)) - (torch.cumsum(size, 0) - size)[batch]
    most = _whole(size.max()) if max_num_nodes is None else max_num_nodes
    # rows over `most` go to one more place at the end
    at = torch.where(place < most, place + batch * most, torch.full_like(place, 1) * (graphs * most))
    rest = list(x.shape[1:])
    out = torch.full([graphs * most + 1] + rest, float(fill_value), dtype=x.dtype)
    out = out.scatter(0, _spread(at, x, 0), x)[:-1].view([graphs, most] + rest)
    return out, torch.arange(most).view(1, -1) < size.view(-1, 1)


def to_dense_adj(edge_index, batch=None, edge_attr=None, max_num_nodes=None, batch_size=None):
    graphs = batch_size
    if batch is None:
        batch, graphs = edge_index.new_zeros([_count(edge_index)]), graphs or 1
    graphs = _count(batch) if graphs is None else graphs
    size = scatter(torch.ones_like(batch), batch, 0, graphs)
    first = torch.cumsum(size, 0) - size
    most = _whole(size.max()) if max_num_nodes is None else max_num_nodes
    graph = batch[edge_index[0]]
    row, col = edge_index[0] - first[graph], edge_index[1] - first[batch[edge_index[1]]]
    value = torch.ones_like(row, dtype=torch.float32) if edge_attr is None else edge_attr
    if max_num_nodes is not None:
        keep = (row < most) & (col < most)
        graph, row, col, value = graph[keep], row[keep], col[keep], value[keep]
    rest = list(value.shape[1:])
    out = scatter(value, (graph * most + row) * most + col, 0, graphs * most * most)
    return out.view([graphs, most, most] + rest)


def topk(x, ratio, batch, min_score=None, tol=1e-7):
    if min_score is not None:
        limit = (scatter(x, batch, reduce="max")[batch] - tol).clamp(max=min_score)
        return (x > limit).nonzero().view(-1)
    size = scatter(torch.ones_like(batch), batch)
    if ratio >= 1:
        keep = torch.full_like(size, int(ratio))
    else:
        keep = (float(ratio) * size.to(x.dtype)).ceil().to(torch.long)
    order = torch.topk(x.view(-1), x.size(0))[1]
    order = order[torch.topk(-batch[order].to(torch.float32), x.size(0))[1]]  # TopK keeps the order of equal ones
    group = batch[order]
    place = torch.arange(x.size(0)) - (torch.cumsum(size, 0) - size)[group]
    return order[place < keep[group]]


def _sort_pool(self, x, index=None, ptr=None, dim_size=None, dim=-2, max_num_elements=None):
    rows, mask = to_dense_batch(x, index, 0.0, max_num_elements, dim_size)
    key = torch.where(mask, rows[:, :, -1], torch.full_like(rows[:, :, -1], float("-inf")))
    order = torch.topk(key, key.size(1), dim=1)[1]
    rows = rows.gather(1, order.unsqueeze(-1).expand_as(rows))
    rows = torch.cat([rows, rows.new_zeros([rows.size(0), self.k, rows.size(2)])], 1)[:, :self.k]
    return rows.reshape(rows.size(0), self.k * x.size(-1))


def _quantile(self, x, index=None, ptr=None, dim_size=None, dim=-2):
    if dim % x.dim() != 0:
        raise ValueError(f"recurd_export: quantiles along axis {dim} of {x.dim()} are not exported")
    groups = _count(index) if dim_size is None else dim_size
    size = scatter(torch.ones_like(index), index, 0, groups)
    place = (self.q * (size - 1) + torch.cumsum(size, 0) - size).t().reshape(-1)  # of each group's quantiles, one after the other
    # a last row, behind those of all groups: where no row is, one is still looked at
    x = torch.cat([x, x.new_zeros([1] + list(x.shape[1:]))])
    index = _spread(torch.cat([index, index.new_full((1,), groups) if isinstance(groups, int) else groups.view(1)]), x, 0)
    x, order = torch.sort(x, dim=0)
    order = torch.topk(-index.gather(0, order).to(torch.float32), x.size(0), dim=0)[1]  # TopK keeps the order of equal ones
    x, column = x.gather(0, order), [-1] + [1] * (x.dim() - 1)
    low, high = place.floor().long().clamp(min=0), place.ceil().long().clamp(min=0)
    if self.interpolation in ("lower", "higher", "nearest"):
        at = {"lower": low, "higher": high, "nearest": place.round().long().clamp(min=0)}[self.interpolation]
        found = x.index_select(0, at)
    else:
        share = (place - place.floor()).view(column) if self.interpolation == "linear" else 0.5
        found = x.index_select(0, low)
        found = found + (x.index_select(0, high) - found) * share
    n = self.q.numel()
    none = (size == 0).view(-1, 1).expand(-1, n).reshape(column)
    found = torch.where(none, torch.full_like(found, self.fill_value), found)
    return found if n == 1 else found.view([-1, n * x.size(1)] + list(x.shape[2:]))


def _added(mask):
    """Whatever says what attention may see, as a number to add to its scores."""
    return torch.zeros_like(mask, dtype=torch.float32).masked_fill(mask, float("-inf")) if mask.dtype == torch.bool else mask


def _attention(self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None, average_attn_weights=True,
               is_causal=False):
    if self.bias_k is not None or self.add_zero_attn:
        raise ValueError("recurd_export: MultiheadAttention with add_bias_kv or add_zero_attn is not exported")
    single = query.dim() == 2
    x = [v.unsqueeze(0) if single else v if self.batch_first else v.transpose(0, 1) for v in (query, key, value)]
    if self._qkv_same_embed_dim:
        weights = self.in_proj_weight.chunk(3)
    else:
        weights = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
    biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
    q, k, v = (torch.nn.functional.linear(*p) for p in zip(x, weights, biases))
    q, k, v = (t.view([t.size(0), t.size(1), self.num_heads, self.head_dim]).transpose(1, 2) for t in (q, k, v))
    scores = (q * self.head_dim ** -0.5) @ k.transpose(2, 3)
    if attn_mask is not None:
        mask = _added(attn_mask)
        scores = scores + (mask if mask.dim() == 2 else mask.view([-1, self.num_heads, mask.size(1), mask.size(2)]))
    if key_padding_mask is not None:
        mask = _added(key_padding_mask)
        scores = scores + mask.view([-1, 1, 1, mask.size(-1)])
    share = torch.softmax(scores, -1)
    if not need_weights and (attn_mask is not None or key_padding_mask is not None):  # who may see nobody: 0, as there
        share = torch.where(scores.amax(-1, keepdim=True) == float("-inf"), torch.zeros_like(share), share)
    out = (share @ v).transpose(1, 2)
    out = self.out_proj(out.reshape([out.size(0), out.size(1), self.embed_dim]))
    if not need_weights:
        share = None
    elif average_attn_weights:
        share = share.mean(1)
    if single:
        return out.squeeze(0), share if share is None else share.squeeze(0)
    return out if self.batch_first else out.transpose(0, 1), share


_aggregate = Aggregation.__call__


def _sized(self, x, index=None, ptr=None, dim_size=None, dim=-2, **kwargs):
    if index is not None and ptr is None and dim_size is None:
        dim_size = _count(index)
    return _aggregate(self, x, index=index, ptr=ptr, dim_size=dim_size, dim=dim, **kwargs)


def _index_add(g, base, dim, index, src, alpha=None):
    from torch.onnx import symbolic_helper as h
    at = h._get_const(dim, "i", "dim")
    rank = h._get_tensor_rank(src)
    if rank is None:
        raise ValueError("recurd_export: index_add of a tensor whose rank the trace does not know")
    for axis in range(rank):
        if axis != at % rank:
            index = h._unsqueeze_helper(g, index, [axis])
    index = g.op("Expand", index, g.op("Shape", src))
    return g.op("ScatterElements", base, index, src, axis_i=at, reduction_s="add")


def _index_put(g, base, indices, values, accumulate=False):
    from torch.onnx import symbolic_helper as h, symbolic_opset11
    places = h._unpack_list(indices)
    rank, at_rank = h._get_tensor_rank(base), h._get_tensor_rank(places[0])
    if (len(places) == 1 and at_rank and rank and h._get_tensor_rank(values) == 0 and not h._maybe_get_const(accumulate, "b")
            and places[0].type().scalarType() == "Bool"):  # x[mask] = number, of rows too
        mask = h._unsqueeze_helper(g, places[0], list(range(at_rank, rank))) if at_rank < rank else places[0]
        return g.op("Where", mask, values, base)
    if not h._maybe_get_const(accumulate, "b") or any(h._is_none(i) or h._get_tensor_rank(i) != 1 for i in places):
        return symbolic_opset11.index_put(g, base, indices, values, accumulate)
    at = [h._unsqueeze_helper(g, i, [1]) for i in places]
    at = at[0] if len(at) == 1 else g.op("Concat", *at, axis_i=1)
    row, have = (h._get_tensor_sizes(base) or [])[len(places):], h._get_tensor_sizes(values) or [1]
    if have[0] == 1 or have[1:] != row or None in row:  # else they are as many, and as wide, as the places
        shape = g.op("Concat", g.op("Shape", places[0]), g.op("Shape", base, start_i=len(places)), axis_i=0)
        values = g.op("Expand", values, shape)
    return g.op("ScatterND", base, at, values, reduction_s="add")


def _int(value):
    """A number that was the largest of a list: -1 where the list is empty."""
    return _whole((value + 1).clamp(min=0)) - 1 if isinstance(value, torch.Tensor) else int(value)


def _hetero_linear(self, x, type_vec):
    out = x.new_zeros([x.size(0), self.out_channels])
    for i in range(self.num_types):
        out = torch.where((type_vec == i).view(-1, 1), x @ self.weight[i], out)
    return out if self.bias is None else out + self.bias[type_vec]


def _replacements():
    utils = torch_geometric.utils
    return {utils.scatter: scatter, utils.add_remaining_self_loops: add_remaining_self_loops,
            utils.to_dense_batch: to_dense_batch, utils.to_dense_adj: to_dense_adj, topk_module.topk: topk}


def _without_in_place(function):
    """HGTConv keeps sums of sizes and adds to them in place; in a trace sizes are tensors, so what was kept changes, too."""
    source = textwrap.dedent(inspect.getsource(function)).replace("cumsum += ", "cumsum = cumsum + ")
    made = {}
    exec(source, function.__globals__, made)  # the package's own text
    return made[function.__name__]


_instance_norm = torch_geometric.nn.InstanceNorm.forward


def _instance_norm_of_all(self, x, batch=None, batch_size=None):
    if batch is not None or self.track_running_stats:
        return _instance_norm(self, x, batch, batch_size)
    x = x - x.mean(0)
    x = x / ((x * x).mean(0) + self.eps).sqrt()
    return x if self.weight is None else x * self.weight + self.bias


FORWARDS = {torch_geometric.nn.SortAggregation: _sort_pool, torch_geometric.nn.HeteroLinear: _hetero_linear,
            torch_geometric.nn.aggr.QuantileAggregation: _quantile, torch.nn.MultiheadAttention: _attention,
            torch_geometric.nn.InstanceNorm: _instance_norm_of_all}
SYMBOLIC = {"aten::index_add": _index_add, "aten::index_put": _index_put}
COUNTING = [sys.modules["torch_geometric.nn." + n] for n in ("norm.graph_norm", "norm.instance_norm", "norm.layer_norm",
                                                             "conv.hypergraph_conv")]


@contextlib.contextmanager
def _patched():
    """The functions under the layers replaced wherever a module has them by name, and put back."""
    new, undo = _replacements(), []
    for module in list(sys.modules.values()):
        if module is sys.modules[__name__]:
            continue
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if callable(value) and getattr(value, "__hash__", None) is not None:
                try:
                    other = new.get(value)
                except TypeError:
                    continue
                if other is not None:
                    undo.append((module, name, value))
                    setattr(module, name, other)
    hgt = torch_geometric.nn.HGTConv
    for owner, forward in FORWARDS.items():
        undo.append((owner, "forward", owner.forward))
        owner.forward = forward
    undo.append((Aggregation, "__call__", Aggregation.__call__))
    for name in ("_cat", "_construct_src_node_feat"):
        undo.append((hgt, name, getattr(hgt, name)))
        setattr(hgt, name, _without_in_place(getattr(hgt, name)))
    Aggregation.__call__ = _sized
    for name, symbolic in SYMBOLIC.items():
        torch.onnx.register_custom_op_symbolic(name, symbolic, 16)
    for module in COUNTING:  # int(batch.max()) + 1 stays a number that the trace follows
        module.int = _int
    fast = torch.backends.mha.get_fastpath_enabled()  # a whole layer of a transformer as one node, which no exporter knows
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module in COUNTING:
            del module.int
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)
        for name in SYMBOLIC:
            torch.onnx.unregister_custom_op_symbolic(name, 16)


def export(model, args, path, input_names, output_names=("y",), dynamic_axes=None, opset_version=18):
    """Write `model`, called with the tensors `args`, to the file `path`. Axes that may differ from the example come
    from `dynamic_axes`, else from AXES by the inputs' names. The example should have edges and two graphs or more."""
    axes = {n: AXES[n] for n in input_names if n in AXES} if dynamic_axes is None else dynamic_axes
    training = model.training
    model.eval()
    try:
        with _patched(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(model, tuple(args), str(path), dynamo=False, opset_version=opset_version,
                              input_names=list(input_names), output_names=list(output_names), dynamic_axes=axes)
    finally:
        model.train(training)
