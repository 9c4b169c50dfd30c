"""tritonclient's inputs and outputs from numpy arrays."""

import numpy
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype


def inputs(arrays, binary=True, datatypes={}):
    """`binary` is one bool for all, or a set of names that go out binary."""
    made = []
    for name, array in arrays.items():
        kind = datatypes.get(name) or np_to_triton_dtype(array.dtype)
        item = InferInput(name, list(array.shape), kind)
        item.set_data_from_numpy(numpy.ascontiguousarray(array).reshape(array.shape),
                                 binary_data=name in binary if isinstance(binary, set) else binary)
        made.append(item)
    return made


def outputs(names, binary=True, classes=0):
    return [InferRequestedOutput(n, binary_data=n in binary if isinstance(binary, set) else binary, class_count=classes)
            for n in names]
