"""Gives model-local functions an order and names of their own.

torch 1.13 walks a hash table of addresses when it makes functions, so their order, the numbers in their
names (`Plain.1`, `Plain.2`), the names of their values and the order of their attributes change from run to run.
"""


def settle(model):
    known = {(f.domain, f.name): f for f in model.functions}
    found = []
    _visit(model.graph.node, known, found)
    names, used = {}, {}
    for function in found:
        base = function.name.split(".")[0]
        number = used.setdefault((function.domain, base), 0)
        used[function.domain, base] += 1
        names[function.domain, function.name] = f"{base}.{number}" if number else base
    for nodes in [model.graph.node] + [f.node for f in found]:
        for place, node in enumerate(nodes):
            key = (node.domain, node.op_type)
            node.op_type = names.get(key, node.op_type)
            node.name = f"{node.op_type}_{place}"
            if key in names:
                _sort(node.attribute, lambda a: a.name)
    for function in found:
        function.name = names[function.domain, function.name]
        _name_values(function)
        _sort(function.attribute, lambda name: name)
        _sort(function.opset_import, lambda o: o.domain)
    del model.functions[:]
    model.functions.extend(found)


def _name_values(function):
    names = {"": ""}
    for place, name in enumerate(function.input):
        names.setdefault(name, f"in_{place}")
    for node in function.node:  # no subgraphs here: the table's functions hold no If
        for name in node.output:
            names.setdefault(name, f"value_{len(names)}")
    for field in [function.input, function.output] + [f for n in function.node for f in (n.input, n.output)]:
        field[:] = [names[name] for name in field]


def _visit(nodes, known, found):
    """Functions in the order in which a run would first call them."""
    for node in nodes:
        function = known.get((node.domain, node.op_type))
        if function is not None and not any(function is f for f in found):
            found.append(function)
            _visit(function.node, known, found)


def _sort(field, key):
    values = sorted(field, key=key)
    kept = [type(v)() for v in values] if hasattr(field, "add") else values
    if hasattr(field, "add"):
        for copy, value in zip(kept, values):
            copy.CopyFrom(value)
    del field[:]
    field.extend(kept)
