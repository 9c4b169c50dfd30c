"""Input values for a row: the same for every exporter, from the row's name, the seed and the sizes."""

import zlib

import numpy


def row_seed(row, seed):
    return zlib.crc32(f"{seed}/{row.name}".encode()) & 0x7FFFFFFF


def draw(row, which, seed, fixed={}):
    """Input set number `which`: {name: array} in graph order. `fixed` overrides sizes: {"T": 6}."""
    random = numpy.random.RandomState((row_seed(row, seed) + 7919 * (which + 1)) & 0x7FFFFFFF)
    sizes = {**row.sizes[which], **fixed}
    return {i.name: _values(random, i, [sizes.get(d, d) for d in i.dims], sizes) for i in row.inputs}


def _values(random, item, dims, sizes):
    kind, *limits = item.kind.split(":")
    if kind == "token":
        return random.randint(0, int(limits[0]), dims).astype("int64")
    if kind == "length":
        # exporters lose total_length, so some row must be as long as the tensor; sorted rows suit every packing
        ragged = numpy.sort(random.randint(1, sizes["T"] + 1, dims))[::-1].astype("int64")
        ragged[0] = sizes["T"]
        return ragged
    if kind == "shuffled":
        ragged = random.randint(1, sizes["T"] + 1, dims).astype("int64")
        ragged[random.randint(0, dims[0])] = sizes["T"]
        return ragged
    if kind == "mask":
        held = random.uniform(size=dims) < 0.7
        held[:, 0] = True  # a row with no step at all has no softmax
        return held
    if kind == "double":
        return random.normal(size=dims)
    return random.normal(size=dims).astype("float32")
