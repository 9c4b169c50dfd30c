"""Takes out of a model what names this machine: stack traces, doc strings, exporter notes."""


def strip(model):
    model.doc_string = ""
    del model.metadata_props[:]
    _graph(model.graph)
    for function in model.functions:
        function.doc_string = ""
        _drop(function)
        _nodes(function.node)
    return model


def _graph(graph):
    graph.doc_string = ""
    _drop(graph)
    for value in list(graph.input) + list(graph.output) + list(graph.value_info) + list(graph.initializer):
        value.doc_string = ""
        _drop(value)
    _nodes(graph.node)


def _nodes(nodes):
    for node in nodes:
        node.doc_string = ""
        _drop(node)
        for attribute in node.attribute:
            attribute.doc_string = ""
            if attribute.HasField("t"):
                attribute.t.doc_string = ""
            if attribute.HasField("g"):
                _graph(attribute.g)
            for graph in attribute.graphs:
                _graph(graph)


def _drop(message):
    # onnx 1.12 (Debian) does not know the field, and then there is nothing in it
    if "metadata_props" in message.DESCRIPTOR.fields_by_name:
        del message.metadata_props[:]
