"""train.py - dgcnn-mutag: does a molecule cause mutations? By the protocol in ../dgcnn.py."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import dgcnn  # noqa: E402

# nitrobenzene without its hydrogens, tags of this file: 2 carbon, 5 nitrogen, 6 oxygen
NITROBENZENE = ([2, 2, 2, 2, 2, 2, 5, 6, 6], [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (5, 6), (6, 7), (6, 8)])

if __name__ == "__main__":
    dgcnn.main(__file__, NITROBENZENE)
