"""graph_layers.py - one small network for each kind of layer, pooling, decoder and cell of PyTorch Geometric.

A net is (make, inputs): a letter for each input besides x and edge_index:
w edge_weight [edges], a edge_attr [edges, 3], t edge_type [edges], b batch [nodes], p pairs [2, 5], h state [nodes, 5],
H hetero (see graph_fuzz.py), D dense: x and adj of one graph alone."""

import torch
import torch_geometric.nn as g
from torch import nn
from torch_geometric import utils

F_IN, F_OUT, F_EDGE, HIDDEN, RELATIONS = 6, 4, 3, 5, 3


class Stack(nn.Module):
    """Two layers of a kind with a ReLU between them; what follows x goes to both."""

    def __init__(self, make, width=8, out=None):
        super().__init__()
        self.a, self.b = make(F_IN, width), make(out or width, F_OUT)

    def forward(self, x, edge_index, *more):
        return self.b(torch.relu(self.a(x, edge_index, *more)), edge_index, *more)


class Named(nn.Module):
    """One layer whose further arguments go by name."""

    def __init__(self, layer, *names, **fixed):
        super().__init__()
        self.layer, self.names, self.fixed = layer, names, fixed

    def forward(self, x, edge_index, *more):
        return self.layer(x, edge_index, **dict(zip(self.names, more)), **self.fixed)


class Same(nn.Module):
    """A layer that keeps its width, between two linear ones."""

    def __init__(self, layer, width=8, out=None):
        super().__init__()
        self.a, self.layer, self.b = nn.Linear(F_IN, width), layer, nn.Linear(out or width, F_OUT)

    def forward(self, x, edge_index, *more):
        return self.b(torch.relu(self.layer(torch.relu(self.a(x)), edge_index, *more)))


class Initial(nn.Module):
    """Layers that see the first features again (GCN2, FA)."""

    def __init__(self, layer):
        super().__init__()
        self.a, self.layer, self.b = nn.Linear(F_IN, 8), layer, nn.Linear(8, F_OUT)

    def forward(self, x, edge_index):
        first = torch.relu(self.a(x))
        return self.b(self.layer(self.layer(first, first, edge_index).relu(), first, edge_index))


class Readout(nn.Module):
    """Graph-level: a layer, a readout over `batch`, a linear layer."""

    def __init__(self, readout, width=8):
        super().__init__()
        self.a, self.readout, self.out = g.GraphConv(F_IN, 8), readout, nn.Linear(width, F_OUT)

    def forward(self, x, edge_index, batch):
        return self.out(self.readout(torch.relu(self.a(x, edge_index)), batch))


class Neighbours(nn.Module):
    """A transformer's layer of PyTorch's own over all nodes, masked to oneself and one's neighbours."""

    def __init__(self):
        super().__init__()
        self.a, self.layer = nn.Linear(F_IN, 8), nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        self.out = nn.Linear(8, F_OUT)

    def forward(self, x, edge_index):
        nodes = torch.arange(x.size(0))
        near = utils.to_dense_adj(edge_index, torch.zeros_like(nodes), max_num_nodes=x.size(0))[0] + (nodes == nodes.view(-1, 1))
        return self.out(self.layer(self.a(x).unsqueeze(0), near == 0)[0])


class Coarse(nn.Module):
    """A pooling that keeps some nodes, then a layer on what is left."""

    def __init__(self, pool):
        super().__init__()
        self.a, self.pool, self.b = g.GraphConv(F_IN, 8), pool, g.GraphConv(8, F_OUT)

    def forward(self, x, edge_index, batch):
        made = self.pool(torch.relu(self.a(x, edge_index)), edge_index, batch=batch)
        return self.b(made[0], made[1])


class GpsNet(nn.Module):
    """Messages and attention over all nodes of a graph side by side."""

    def __init__(self, attention):
        super().__init__()
        self.a, self.gps, self.b = nn.Linear(F_IN, 8), g.GPSConv(8, g.GINConv(mlp(8, 8)), heads=2, attn_type=attention), nn.Linear(8, F_OUT)

    def forward(self, x, edge_index, batch):
        return self.b(self.gps(self.a(x), edge_index, batch))


class Norm(nn.Module):
    def __init__(self, norm, batched=False):
        super().__init__()
        self.a, self.norm, self.b, self.batched = g.GraphConv(F_IN, 8), norm, nn.Linear(8, F_OUT), batched

    def forward(self, x, edge_index, *batch):
        return self.b(torch.relu(self.norm(self.a(x, edge_index), *batch)))


class IndexPut(nn.Module):
    """Sums by index_put with accumulate: edges into one node add up."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(F_IN, F_OUT)

    def forward(self, x, edge_index):
        h = self.a(x)
        return torch.zeros_like(h).index_put((edge_index[1],), h[edge_index[0]], accumulate=True)


class Dense(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.embed, self.assign, self.pool = g.DenseGCNConv(F_IN, 8), g.DenseGraphConv(F_IN, 3), pool
        self.after, self.out = g.DenseSAGEConv(8, 8), nn.Linear(8, F_OUT)

    def forward(self, x, adj):
        z, s = torch.relu(self.embed(x, adj)), self.assign(x, adj)
        x, adj = self.pool(z, adj, s)[:2]
        return self.out(torch.relu(self.after(x, adj)).mean(1))


class Batched(nn.Module):
    """to_dense_batch: graphs beside each other, padded."""

    def forward(self, x, edge_index, batch):
        dense, mask = utils.to_dense_batch(x, batch)
        return dense.sum(1) + mask.sum(1, keepdim=True).to(x.dtype)


class Adjacent(nn.Module):
    """to_dense_adj: sparse layers first, then DiffPool on graphs beside each other."""

    def __init__(self):
        super().__init__()
        self.a, self.assign, self.out = g.GraphConv(F_IN, 8), nn.Linear(8, 3), nn.Linear(8, F_OUT)

    def forward(self, x, edge_index, batch):
        x, mask = utils.to_dense_batch(self.a(x, edge_index).relu(), batch)
        pooled, adj = g.dense_diff_pool(x, utils.to_dense_adj(edge_index, batch), self.assign(x), mask)[:2]
        return self.out((adj @ pooled).mean(1))


class Inner(nn.Module):
    """GAE: the probability of each pair; `variational` takes the mean as VGAE does when it is not trained."""

    def __init__(self, variational):
        super().__init__()
        self.first, self.mu, self.logstd = g.GCNConv(F_IN, 8), g.GCNConv(8, 4), g.GCNConv(8, 4)
        self.variational, self.decode = variational, g.models.InnerProductDecoder()

    def forward(self, x, edge_index, pairs):
        h = torch.relu(self.first(x, edge_index))
        z = self.mu(h, edge_index)
        if self.variational:
            return self.decode(z, pairs, sigmoid=True), z, self.logstd(h, edge_index)
        return self.decode(z, pairs, sigmoid=True)


class Everybody(nn.Module):
    """All pairs: sigmoid(z z^T)."""

    def __init__(self):
        super().__init__()
        self.net, self.decode = Stack(g.GCNConv), g.models.InnerProductDecoder()

    def forward(self, x, edge_index):
        return self.decode.forward_all(self.net(x, edge_index))


class PairMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.mlp = Stack(g.SAGEConv), nn.Sequential(nn.Linear(2 * F_OUT, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x, edge_index, pairs):
        z = self.net(x, edge_index)
        return torch.sigmoid(self.mlp(torch.cat([z[pairs[0]], z[pairs[1]]], -1)).squeeze(-1))


class GConvGru(nn.Module):
    """GConvGRU of PyTorch Geometric Temporal: a GRU whose products are Chebyshev convolutions."""

    def __init__(self, hops=2):
        super().__init__()
        for gate in "zrh":
            setattr(self, "x" + gate, g.ChebConv(F_IN, HIDDEN, hops))
            setattr(self, "h" + gate, g.ChebConv(HIDDEN, HIDDEN, hops))

    def forward(self, x, edge_index, edge_weight, h):
        z = torch.sigmoid(self.xz(x, edge_index, edge_weight) + self.hz(h, edge_index, edge_weight))
        r = torch.sigmoid(self.xr(x, edge_index, edge_weight) + self.hr(h, edge_index, edge_weight))
        n = torch.tanh(self.xh(x, edge_index, edge_weight) + self.hh(h * r, edge_index, edge_weight))
        return z * h + (1 - z) * n


class Tgcn(nn.Module):
    def __init__(self):
        super().__init__()
        self.cz, self.cr, self.ch = (g.GCNConv(F_IN, HIDDEN) for _ in range(3))
        self.lz, self.lr, self.lh = (nn.Linear(2 * HIDDEN, HIDDEN) for _ in range(3))

    def forward(self, x, edge_index, edge_weight, h):
        z = torch.sigmoid(self.lz(torch.cat([self.cz(x, edge_index, edge_weight), h], 1)))
        r = torch.sigmoid(self.lr(torch.cat([self.cr(x, edge_index, edge_weight), h], 1)))
        n = torch.tanh(self.lh(torch.cat([self.ch(x, edge_index, edge_weight), h * r], 1)))
        return z * h + (1 - z) * n


class Diffusion(g.MessagePassing):
    """DCRNN's convolution: walks along the edges and against them, by degrees with weights."""

    def __init__(self, i, o, hops=2):
        super().__init__(aggr="add")
        self.lins = nn.ModuleList(nn.Linear(i, o, bias=k == 0) for k in range(1 + 2 * hops))
        self.hops = hops

    def forward(self, x, edge_index, edge_weight):
        y = self.lins[0](x)
        for way in range(2):
            row, col = edge_index[way], edge_index[1 - way]
            degree = x.new_zeros(x.size(0)).scatter_add_(0, row, edge_weight)
            norm = torch.where(degree == 0, torch.zeros_like(degree), 1 / degree)[row] * edge_weight
            walk = x
            for k in range(self.hops):
                walk = self.propagate(torch.stack([row, col]), x=walk, norm=norm)
                y = y + self.lins[1 + way * self.hops + k](walk)
        return y

    def message(self, x_j, norm):
        return x_j * norm.view(-1, 1)


class Dcrnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.gates, self.new = Diffusion(F_IN + HIDDEN, 2 * HIDDEN), Diffusion(F_IN + HIDDEN, HIDDEN)

    def forward(self, x, edge_index, edge_weight, h):
        z, r = torch.sigmoid(self.gates(torch.cat([x, h], 1), edge_index, edge_weight)).chunk(2, 1)
        n = torch.tanh(self.new(torch.cat([x, r * h], 1), edge_index, edge_weight))
        return z * h + (1 - z) * n


TYPES = [("paper", "cites", "paper"), ("author", "writes", "paper"), ("paper", "written_by", "author")]


class Hetero(nn.Module):
    """HeteroConv over two node types and three relations; tensors by position, as ONNX has them."""

    def __init__(self, aggr="sum"):
        super().__init__()
        kinds = [g.GCNConv(F_IN, 8), g.SAGEConv((3, F_IN), 8), g.SAGEConv((F_IN, 3), 8)]
        self.a = g.HeteroConv(dict(zip(TYPES, kinds)), aggr=aggr)
        self.b = g.HeteroConv({t: g.SAGEConv(8, F_OUT) for t in TYPES}, aggr=aggr)

    def forward(self, x, author, cites, writes, written):
        edges = dict(zip(TYPES, (cites, writes, written)))
        h = {k: v.relu() for k, v in self.a({"paper": x, "author": author}, edges).items()}
        return self.b(h, edges)["paper"]


class ToHetero(nn.Module):
    def __init__(self):
        super().__init__()
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = g.SAGEConv((-1, -1), 8), g.GraphConv((-1, -1), F_OUT)

            def forward(self, x, edge_index):
                return self.b(self.a(x, edge_index).relu(), edge_index)
        self.net = g.to_hetero(Net(), (["paper", "author"], TYPES), aggr="mean")
        with torch.no_grad():
            self(torch.zeros(2, F_IN), torch.zeros(2, 3), *(torch.zeros(2, 1, dtype=torch.long) for _ in TYPES))

    def forward(self, x, author, cites, writes, written):
        return self.net({"paper": x, "author": author}, dict(zip(TYPES, (cites, writes, written))))["paper"]


class Hgt(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = g.HGTConv({"paper": F_IN, "author": 3}, 8, (["paper", "author"], TYPES), heads=2)
        self.b = nn.Linear(8, F_OUT)

    def forward(self, x, author, cites, writes, written):
        return self.b(self.a({"paper": x, "author": author}, dict(zip(TYPES, (cites, writes, written))))["paper"])


class AttendMade(nn.Module):
    """Attention that sums what is made for each edge (TransformerConv, GeneralConv), or sees heads as a row first (HANConv)."""

    def __init__(self):
        super().__init__()
        self.a, self.b = g.TransformerConv(F_IN, 4, heads=2, edge_dim=F_EDGE), g.HANConv({"p": 8}, 8, (["p"], [("p", "c", "p")]), heads=2)
        self.c = g.GeneralConv(8, F_OUT, in_edge_channels=F_EDGE, attention=True, heads=2)

    def forward(self, x, edge_index, edge_attr):
        x = torch.relu(self.a(x, edge_index, edge_attr))
        x = x + self.b({"p": x}, {("p", "c", "p"): edge_index})["p"]
        return self.c(x, edge_index, edge_attr)


def mlp(i, o):
    return nn.Sequential(nn.Linear(i, 8), nn.ReLU(), nn.Linear(8, o))


LAYERS = {
    "gcn": (lambda: Stack(g.GCNConv), ""),
    "gcn_w": (lambda: Stack(g.GCNConv), "w"),
    "gcn_improved_w": (lambda: Stack(lambda i, o: g.GCNConv(i, o, improved=True)), "w"),
    "gcn_plain_w": (lambda: Stack(lambda i, o: g.GCNConv(i, o, add_self_loops=False)), "w"),
    "gcn_raw_w": (lambda: Stack(lambda i, o: g.GCNConv(i, o, normalize=False)), "w"),
    "graphconv_mean": (lambda: Stack(lambda i, o: g.GraphConv(i, o, aggr="mean")), ""),
    "graphconv_max_w": (lambda: Stack(lambda i, o: g.GraphConv(i, o, aggr="max")), "w"),
    "sage_mean": (lambda: Stack(g.SAGEConv), ""),
    "sage_max": (lambda: Stack(lambda i, o: g.SAGEConv(i, o, aggr="max")), ""),
    "sage_min": (lambda: Stack(lambda i, o: g.SAGEConv(i, o, aggr="min")), ""),
    "sage_sum": (lambda: Stack(lambda i, o: g.SAGEConv(i, o, aggr="sum")), ""),
    "sage_norm": (lambda: Stack(lambda i, o: g.SAGEConv(i, o, normalize=True, project=True)), ""),
    "sage_multi": (lambda: Stack(lambda i, o: g.SAGEConv(i, o, aggr=["mean", "max", "std"])), ""),
    "gin": (lambda: Stack(lambda i, o: g.GINConv(mlp(i, o), train_eps=True)), ""),
    "gine": (lambda: Stack(lambda i, o: g.GINEConv(mlp(i, o), edge_dim=F_EDGE)), "a"),
    "gat": (lambda: Stack(lambda i, o: g.GATConv(i, o, heads=2, concat=False)), ""),
    "gat_edge": (lambda: Named(g.GATConv(F_IN, F_OUT, heads=2, edge_dim=F_EDGE), "edge_attr"), "a"),
    "gat_noloop": (lambda: Stack(lambda i, o: g.GATConv(i, o, heads=3, concat=False, add_self_loops=False)), ""),
    "gat_residual": (lambda: Stack(lambda i, o: g.GATConv(i, o, residual=True)), ""),
    "gatv2": (lambda: Stack(lambda i, o: g.GATv2Conv(i, o, heads=2, concat=False)), ""),
    "gatv2_edge": (lambda: Named(g.GATv2Conv(F_IN, F_OUT, heads=2, edge_dim=F_EDGE, share_weights=True), "edge_attr"), "a"),
    "cheb": (lambda: Stack(lambda i, o: g.ChebConv(i, o, K=3)), ""),
    "cheb_w": (lambda: Stack(lambda i, o: g.ChebConv(i, o, K=3)), "w"),
    "cheb_lambda": (lambda: Named(g.ChebConv(F_IN, F_OUT, K=3, normalization=None), "edge_weight", lambda_max=torch.tensor(3.0)), "w"),
    "cheb_rw": (lambda: Named(g.ChebConv(F_IN, F_OUT, K=2, normalization="rw"), lambda_max=torch.tensor(2.0)), ""),
    "cheb_k1": (lambda: Stack(lambda i, o: g.ChebConv(i, o, K=1)), ""),
    "sgc_w": (lambda: Stack(lambda i, o: g.SGConv(i, o, K=2)), "w"),
    "ssg": (lambda: Stack(lambda i, o: g.SSGConv(i, o, alpha=0.1, K=2)), ""),
    "rgcn": (lambda: Stack(lambda i, o: g.RGCNConv(i, o, RELATIONS)), "t"),
    "rgcn_bases": (lambda: Stack(lambda i, o: g.RGCNConv(i, o, RELATIONS, num_bases=2)), "t"),
    "rgcn_blocks": (lambda: Stack(lambda i, o: g.RGCNConv(i, o, RELATIONS, num_blocks=2)), "t"),
    "fastrgcn": (lambda: Stack(lambda i, o: g.FastRGCNConv(i, o, RELATIONS)), "t"),
    "fastrgcn_bases": (lambda: Stack(lambda i, o: g.FastRGCNConv(i, o, RELATIONS, num_bases=2)), "t"),
    "rgat": (lambda: Stack(lambda i, o: g.RGATConv(i, o, RELATIONS)), "t"),
    "film": (lambda: Stack(lambda i, o: g.FiLMConv(i, o, RELATIONS)), "t"),
    "transformer": (lambda: Stack(lambda i, o: g.TransformerConv(i, o, heads=2, concat=False, beta=True)), ""),
    "transformer_edge": (lambda: Named(g.TransformerConv(F_IN, F_OUT, heads=2, edge_dim=F_EDGE), "edge_attr"), "a"),
    "attend_made": (AttendMade, "a"),
    "tag": (lambda: Stack(lambda i, o: g.TAGConv(i, o, K=2)), "w"),
    "arma": (lambda: Stack(lambda i, o: g.ARMAConv(i, o, num_stacks=2, num_layers=2)), "w"),
    "le": (lambda: Stack(g.LEConv), "w"),
    "edgeconv": (lambda: Stack(lambda i, o: g.EdgeConv(mlp(2 * i, o))), ""),
    "edgeconv_mean": (lambda: Stack(lambda i, o: g.EdgeConv(mlp(2 * i, o), aggr="mean")), ""),
    "nnconv": (lambda: Named(g.NNConv(F_IN, F_OUT, mlp(F_EDGE, F_IN * F_OUT)), "edge_attr"), "a"),
    "cg": (lambda: Named(g.CGConv(F_IN, F_EDGE, batch_norm=True), "edge_attr"), "a"),
    "gmm": (lambda: Named(g.GMMConv(F_IN, F_OUT, dim=F_EDGE, kernel_size=2), "edge_attr"), "a"),
    "gen": (lambda: Named(g.GENConv(F_IN, F_OUT, edge_dim=F_EDGE, learn_t=True), "edge_attr"), "a"),
    "pna": (lambda: Stack(lambda i, o: g.PNAConv(i, o, ["mean", "min", "max", "std"], ["identity", "amplification", "attenuation"],
                                                deg=torch.tensor([0, 3, 5, 2]))), ""),
    "resgated": (lambda: Stack(g.ResGatedGraphConv), ""),
    "gatedgraph": (lambda: Same(g.GatedGraphConv(8, 2)), "w"),
    "appnp": (lambda: Same(g.APPNP(3, 0.1)), "w"),
    "agnn": (lambda: Same(g.AGNNConv()), ""),
    "gcn2": (lambda: Initial(g.GCN2Conv(8, 0.1, 0.5, 1)), ""),
    "fa": (lambda: Initial(g.FAConv(8)), ""),
    "feast": (lambda: Stack(lambda i, o: g.FeaStConv(i, o, heads=2)), ""),
    "cluster": (lambda: Stack(g.ClusterGCNConv), ""),
    "mixhop": (lambda: Stack(lambda i, o: g.MixHopConv(i, o // 2, powers=[0, 1]), out=8), ""),
    "mf": (lambda: Stack(lambda i, o: g.MFConv(i, o, max_degree=3)), ""),
    "supergat": (lambda: Stack(lambda i, o: g.SuperGATConv(i, o)), ""),
    "antisym": (lambda: Same(g.AntiSymmetricConv(8)), ""),
    "lg": (lambda: Same(g.LGConv()), "w"),
    "dirgnn": (lambda: Stack(lambda i, o: g.DirGNNConv(g.SAGEConv(i, o))), ""),
    "general": (lambda: Stack(lambda i, o: g.GeneralConv(i, o, attention=True)), ""),
    "eg": (lambda: Stack(lambda i, o: g.EGConv(i, o, num_heads=2, aggregators=["mean", "max", "symnorm"])), ""),
    "hypergraph": (lambda: Stack(g.HypergraphConv), ""),
    "gps": (lambda: Same(g.GPSConv(8, g.GraphConv(8, 8), heads=2)), ""),
    "gps_batch": (lambda: GpsNet("multihead"), "b"),
    "attention_mask": (Neighbours, ""),
    "gps_performer": (lambda: GpsNet("performer"), "b"),
    "jk": (lambda: g.models.GCN(F_IN, 8, 3, F_OUT, jk="cat", norm="layer_norm"), ""),
    "jk_lstm": (lambda: g.models.GraphSAGE(F_IN, 8, 3, F_OUT, jk="lstm"), ""),
    "deepgcn": (lambda: Same(g.DeepGCNLayer(g.GENConv(8, 8), nn.LayerNorm(8), nn.ReLU(), block="res+")), ""),
    "norm_batch": (lambda: Norm(g.BatchNorm(8)), ""),
    "norm_graph": (lambda: Norm(g.GraphNorm(8), True), "b"),
    "norm_layer": (lambda: Norm(g.LayerNorm(8), True), "b"),
    "norm_instance": (lambda: Norm(g.InstanceNorm(8), True), "b"),
    "norm_instance_one": (lambda: Norm(g.InstanceNorm(8)), ""),
    "norm_pair": (lambda: Norm(g.PairNorm()), ""),
    "norm_msg": (lambda: Same(g.GraphConv(8, 8)), ""),
    "index_put": (IndexPut, ""),
    "pool_mean": (lambda: Readout(g.global_mean_pool), "b"),
    "pool_max": (lambda: Readout(g.global_max_pool), "b"),
    "pool_add": (lambda: Readout(g.global_add_pool), "b"),
    "aggr_softmax": (lambda: Readout(g.aggr.SoftmaxAggregation(learn=True)), "b"),
    "aggr_powermean": (lambda: Readout(g.aggr.PowerMeanAggregation(learn=True)), "b"),
    "aggr_std": (lambda: Readout(g.aggr.StdAggregation()), "b"),
    "aggr_median": (lambda: Readout(g.aggr.MedianAggregation()), "b"),
    "aggr_quantile": (lambda: Readout(g.aggr.QuantileAggregation([0.25, 0.5, 0.9], "midpoint"), 24), "b"),
    "aggr_mul": (lambda: Readout(g.aggr.MulAggregation()), "b"),
    "aggr_set_transformer": (lambda: Readout(g.aggr.SetTransformerAggregation(8, heads=2)), "b"),
    "aggr_multiset": (lambda: Readout(g.aggr.GraphMultisetTransformer(8, k=3, heads=2)), "b"),
    "aggr_attention": (lambda: Readout(g.aggr.AttentionalAggregation(nn.Linear(8, 1))), "b"),
    "aggr_set2set": (lambda: Readout(g.aggr.Set2Set(8, 2), 16), "b"),
    "aggr_lstm": (lambda: Readout(g.aggr.LSTMAggregation(8, 8)), "b"),
    "aggr_deepsets": (lambda: Readout(g.aggr.DeepSetsAggregation(nn.Linear(8, 8), nn.Linear(8, 8))), "b"),
    "sortpool": (lambda: Readout(g.SortAggregation(k=4), 32), "b"),
    "topk": (lambda: Coarse(g.TopKPooling(8, ratio=0.5)), "b"),
    "topk_min": (lambda: Coarse(g.TopKPooling(8, min_score=0.2)), "b"),
    "sagpool": (lambda: Coarse(g.SAGPooling(8, ratio=0.6)), "b"),
    "asap": (lambda: Coarse(g.ASAPooling(8, ratio=0.5)), "b"),
    "edgepool": (lambda: Coarse(g.EdgePooling(8)), "b"),
    "dense_batch": (Batched, "b"),
    "dense_adj": (Adjacent, "b"),
    "diffpool": (lambda: Dense(g.dense_diff_pool), "D"),
    "mincut": (lambda: Dense(g.dense_mincut_pool), "D"),
    "gae": (lambda: Inner(False), "p"),
    "vgae": (lambda: Inner(True), "p"),
    "gae_all": (Everybody, ""),
    "pair_mlp": (PairMlp, "p"),
    "hetero": (Hetero, "H"),
    "hetero_max": (lambda: Hetero("max"), "H"),
    "to_hetero": (ToHetero, "H"),
    "hgt": (Hgt, "H"),
    "gconvgru": (GConvGru, "wh"),
    "tgcn": (Tgcn, "wh"),
    "dcrnn": (Dcrnn, "wh"),
}
