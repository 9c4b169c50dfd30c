"""recipe.py - what the recipes of the bundled models share: arguments, seed, progress, pictures, export.

A recipe is models/NAME/train.py. It reads data from --data, trains, measures on held-out data, and
writes 1/model.onnx, 1/labels.txt and loss.png beside itself.
"""
import argparse
import copy
import json
import pathlib
import random
import warnings

import matplotlib
import numpy as np
import onnx
import onnxruntime
import torch
from tqdm import tqdm

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 (the back end is chosen before)

OPSET = 17
TOLERANCE = 1e-4  # ONNX Runtime against PyTorch, relative to the largest value


def arguments(description, data_help, script, seeds=None, folds=None):
    """The command line of a recipe; `script` is its __file__. One thread, so that a seed repeats. `seeds`: of a recipe
    that trains with several seeds, how many; `folds`: of one that trains on several folds."""
    parser = argparse.ArgumentParser(prog=f"train.py ({pathlib.Path(script).parent.name})",
                                     description=description)
    parser.add_argument("--data", type=pathlib.Path, required=True, metavar="PATH", help=data_help)
    parser.add_argument("--out", type=pathlib.Path, metavar="FOLDER",
                        default=pathlib.Path(script).resolve().parent,
                        help="the model's folder (default: where the recipe lies)")
    parser.add_argument("--seed", type=int, default=1, help="of all random numbers (default: 1)")
    if seeds:
        parser.add_argument("--seeds", type=int, default=seeds, metavar="N",
                            help=f"so many seeds, one after the other (default: {seeds})")
    if folds:
        parser.add_argument("--folds", type=int, default=folds, metavar="N",
                            help=f"the first so many folds alone (default: all {folds})")
    args = parser.parse_args()
    if not args.data.exists():
        parser.error(f"--data: {args.data} does not exist")
    (args.out / "1").mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    set_seed(args.seed)
    return args


def set_seed(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)


class Best:
    """The weights with the lowest validation loss so far, and how many epochs ago that was."""

    def __init__(self):
        self.loss = float("inf")
        self.age = 0
        self.weights = None

    def update(self, loss, model):
        self.age += 1
        if loss < self.loss:
            self.loss, self.age = loss, 0
            self.weights = copy.deepcopy(model.state_dict())


def fit(model, epochs, train_epoch, validate, patience):
    """Train until `epochs`, or until `patience` epochs brought no lower validation loss.

    train_epoch(epoch) and validate() return a loss. The best weights are put back into the model;
    returned are the losses of each epoch, {"training": [...], "validation": [...]}.
    """
    best = Best()
    curves = {"training": [], "validation": []}
    with tqdm(range(epochs), desc="epochs", mininterval=1) as bar:
        for epoch in bar:
            model.train()
            curves["training"].append(train_epoch(epoch))
            model.eval()
            curves["validation"].append(validate())
            best.update(curves["validation"][-1], model)
            bar.set_postfix(training=f"{curves['training'][-1]:.4f}",
                            validation=f"{curves['validation'][-1]:.4f}", best=f"{best.loss:.4f}")
            if best.age >= patience:
                break
    model.load_state_dict(best.weights)
    return curves


def plot_loss(path, curves, unit, baselines=(), axis="epoch"):
    """A picture of the loss of each epoch; baselines are (name, value) and become dotted lines."""
    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    for name, losses in curves.items():
        axes.plot(range(1, len(losses) + 1), losses, label=name)
    for i, (name, value) in enumerate(baselines):
        axes.axhline(value, linestyle=":", color=f"C{len(curves) + i}", label=name)
    axes.set_xlabel(axis)
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def export(path, model, inputs, outputs, axes):
    """Write the model as ONNX.

    inputs: {name: example tensor} in the order of forward(); outputs: names; axes: {tensor name:
    {axis: name}} of the axes that may have any size.
    """
    model.eval()
    with warnings.catch_warnings():  # that it is traced, and of fixed batches, which check() tries
        warnings.simplefilter("ignore")
        torch.onnx.export(model, tuple(inputs.values()), str(path), dynamo=False,
                          opset_version=OPSET, input_names=list(inputs), output_names=outputs,
                          dynamic_axes=axes)
    onnx.checker.check_model(str(path), full_check=True)


def check(path, model, cases):
    """Run each case ({input name: tensor}) in ONNX Runtime and by model(), a PyTorch module or a
    function around one; fail when they differ."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for case in cases:
        got = session.run(None, {name: tensor.numpy() for name, tensor in case.items()})
        with torch.no_grad():
            want = model(*case.values())
        want = want if isinstance(want, tuple) else (want,)
        for a, b in zip(got, want, strict=True):
            worst = max(worst, float(np.abs(a - b.numpy()).max() / (np.abs(a).max() + 1)))
    if worst > TOLERANCE:
        raise SystemExit(f"{path.name}: ONNX Runtime and PyTorch differ by {worst:.1e}")
    print(f"{path.name}: {path.stat().st_size} bytes; ONNX Runtime and PyTorch differ by at most "
          f"{worst:.1e} over {len(cases)} shapes")


def _flat_json(array):
    """[1,0.25]: row by row, floats in the shortest text that reads back as the same float32."""
    return "[" + ",".join(np.format_float_positional(x, unique=True, trim="-")
                          if array.dtype == np.float32 else str(x) for x in array.ravel()) + "]"


def tensor_json(name, array):
    datatype = {"float32": "FP32", "int64": "INT64"}[str(array.dtype)]
    return (f'{{"name":"{name}","datatype":"{datatype}","shape":{json.dumps(array.shape, separators=(",", ":"))},'
            f'"data":{_flat_json(array)}}}')


def show_call(path, model_name, inputs, outputs, states=()):
    """Print a curl line for these inputs and the answer that ONNX Runtime computes, for the README.
    Inputs named in `states` are zero and left out of the line: the server takes them so."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    results = session.run(outputs, arrays)
    body = ",\n  ".join(tensor_json(name, array) for name, array in arrays.items()
                        if name not in states)
    asked = ",".join(f'{{"name":"{name}"}}' for name in outputs)
    answer = ",\n  ".join(tensor_json(name, array) for name, array in zip(outputs, results))
    print(f"\n```sh\ncurl -s http://127.0.0.1:8000/v2/models/{model_name}/infer -d '"
          f'{{"inputs":[\n  {body}],\n "outputs":[{asked}]}}\'\n```\n\n```json\n'
          f'{{"model_name":"{model_name}","model_version":"1","outputs":[\n  {answer}]}}\n```')
