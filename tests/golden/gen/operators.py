"""Counts the operators of models, with those inside If bodies and model-local functions.

usage: operators.py FOLDER    (every */model.onnx below it)
"""

import collections
import glob
import os
import sys

import onnx

TYPES = {v: k.lower() for k, v in onnx.TensorProto.DataType.items()}


def nodes(graph, where="top"):
    for node in graph.node:
        yield node, where
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g, f"{node.op_type}.{attribute.name}")


def model_nodes(model):
    yield from nodes(model.graph)
    for function in model.functions:
        for node in function.node:
            yield node, f"function {function.domain}::{function.name}"


def opset(model):
    return max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))


def operators(model):
    """Operators of the default domain; calls of model-local functions have a domain of their own."""
    return sorted({n.op_type for n, _ in model_nodes(model) if n.domain in ("", "ai.onnx")})


def _types(model):
    """Names to dtypes, by shape inference where the model itself does not tell."""
    try:
        model = onnx.shape_inference.infer_shapes(model)
    except Exception:
        pass
    known = {}

    def graph(g):
        for value in list(g.input) + list(g.value_info) + list(g.output):
            known[value.name] = TYPES[value.type.tensor_type.elem_type]
        for tensor in g.initializer:
            known[tensor.name] = TYPES[tensor.data_type]
        for node in g.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    graph(attribute.g)
    graph(model.graph)
    return known


def _value(a):
    if a.ref_attr_name:
        return f"reference to {a.ref_attr_name}"
    value = onnx.helper.get_attribute_value(a)
    if a.type == onnx.AttributeProto.GRAPH:
        return "graph"
    if a.type == onnx.AttributeProto.TENSOR:
        return f"{TYPES[value.data_type]}{list(value.dims)}"
    if isinstance(value, bytes):
        return value.decode()
    return str([v.decode() if isinstance(v, bytes) else v for v in value]) if hasattr(value, "__iter__") else str(value)


def main(folder):
    count = collections.Counter()
    versions, files, places = (collections.defaultdict(set) for _ in range(3))
    attributes = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
    dtypes = collections.defaultdict(collections.Counter)
    imports = collections.Counter()
    graph_types = collections.Counter()
    for path in sorted(glob.glob(os.path.join(folder, "*", "model.onnx"))):
        model = onnx.load(path)
        name = os.path.basename(os.path.dirname(path))
        imports.update(f"{o.domain or 'ai.onnx'}:{o.version}" for o in model.opset_import)
        imports.update([f"ir_version:{model.ir_version}"])
        if model.functions:
            imports.update(f"function {f.domain}::{f.name}" for f in model.functions)
        known = _types(model)
        graph_types.update("in " + known[v.name] for v in model.graph.input)
        graph_types.update("out " + known[v.name] for v in model.graph.output)
        for node, where in model_nodes(model):
            op = (node.domain + "::" if node.domain not in ("", "ai.onnx") else "") + node.op_type
            count[op] += 1
            versions[op].add(opset(model))
            files[op].add(name)
            places[op].add(where)
            for a in node.attribute:
                attributes[op][a.name][_value(a)] += 1
            of = lambda names: ",".join(known.get(n, "?") if n else "-" for n in names)
            dtypes[op][f"{of(node.input)} -> {of(node.output)}"] += 1
    print(f"graph inputs and outputs: {dict(graph_types)}\nimports: {dict(imports)}\n")
    for op in sorted(count):
        print(f"{op}  nodes {count[op]}, files {len(files[op])}, opsets {sorted(versions[op])}, where {sorted(places[op])}")
        for key, seen in sorted(attributes[op].items()):
            shown = [f"{v} x{c}" for v, c in seen.most_common(14)]
            print(f"    @{key}: {'; '.join(shown)}" + (" ..." if len(seen) > 14 else ""))
        for signature, times in dtypes[op].most_common(12):
            print(f"    {signature}  x{times}")


if __name__ == "__main__":
    main(sys.argv[1])
