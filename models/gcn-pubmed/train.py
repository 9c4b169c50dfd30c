"""train.py - gcn-pubmed, by the protocol in ../planetoid.py."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import planetoid  # noqa: E402

if __name__ == "__main__":
    planetoid.main(__file__)
