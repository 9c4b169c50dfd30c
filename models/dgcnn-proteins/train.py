"""train.py - dgcnn-proteins: is a protein an enzyme? By the protocol in ../dgcnn.py."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import dgcnn  # noqa: E402

# a small chain: two helices (0), a sheet (1), a turn (2), and what lies near what
CHAIN = ([0, 0, 1, 1, 2], [(0, 1), (1, 2), (2, 3), (3, 4), (0, 2), (1, 3)])

if __name__ == "__main__":
    dgcnn.main(__file__, CHAIN)
