"""The model repository of a run: bundled models, golden networks and probe models in a temporary folder."""

import glob
import os
import shutil

import probe_models


class Repository:
    def __init__(self, root, bundled, golden):
        self.root = root
        self.bundled = _copy_bundled(bundled, root)
        self.golden = {}
        for path in sorted(glob.glob(os.path.join(golden, "*", "model.onnx"))):
            source = os.path.dirname(path)
            name = os.path.basename(source)
            os.makedirs(os.path.join(root, name, "1"))
            shutil.copy(path, os.path.join(root, name, "1", "model.onnx"))
            self.golden[name] = source
        probe_models.write(root)
        self.probes = ["identity_" + d.lower() for d in probe_models.DATATYPES] + ["mixed", "classes", "running_sum"]

    def file(self, name, version="1"):
        return os.path.join(self.root, name, version, "model.onnx")


def _copy_bundled(folder, root):
    """Names of the models in `folder` that are laid out as a repository: NAME/VERSION/model.onnx."""
    names = []
    for path in sorted(glob.glob(os.path.join(folder, "*"))):
        if glob.glob(os.path.join(path, "[0-9]*", "model.onnx")):
            shutil.copytree(path, os.path.join(root, os.path.basename(path)))
            names.append(os.path.basename(path))
    return names
