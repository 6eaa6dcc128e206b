"""Turns weights of PyTorch or NumPy into safetensors, which recurve's `Params::load` reads.

    python convert.py model.pth model.safetensors
    python convert.py arrays.npz model.safetensors --strip module.

Names are kept. Floating-point tensors become contiguous float32, counters (`num_batches_tracked`) stay int64.
"""

import argparse
import sys

import numpy as np
from safetensors.numpy import save_file


def read(path):
    """The arrays of a file by name. Nothing is unpickled that could run code."""
    if path.endswith((".npz", ".npy")):
        arrays = np.load(path, allow_pickle=False)
        return dict(arrays) if path.endswith(".npz") else {"array": arrays}
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    # Training scripts often wrap the weights.
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state.get(key), dict):
            state = state[key]
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    left_out = sorted(set(state) - set(tensors))
    if left_out:
        print(f"not tensors, left out: {', '.join(map(str, left_out))}", file=sys.stderr)
    floats = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    return {name: value.detach().numpy() for name, value in floats.items()}


def convert(name, value):
    """The array as it is written."""
    if np.issubdtype(value.dtype, np.floating):
        value = value.astype(np.float32)
    elif np.issubdtype(value.dtype, np.integer):
        value = value.astype(np.int64)
    else:
        sys.exit(f"error: {name} has elements of {value.dtype}")
    # A copy in C order; `ascontiguousarray` would give a number an axis.
    return value.copy(order="C")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help=".pth, .pt, .npz or .npy")
    parser.add_argument("target", help=".safetensors")
    parser.add_argument("--strip", default="", help="what to take away from the beginning of names")
    options = parser.parse_args()
    arrays = {}
    for name, value in read(options.source).items():
        new = name.removeprefix(options.strip)
        if new in arrays:
            sys.exit(f"error: two arrays would be called {new}")
        arrays[new] = convert(name, value)
    save_file(arrays, options.target)
    for name, value in sorted(arrays.items()):
        print(f"{name:50} {value.dtype} {list(value.shape)}")
    print(f"{len(arrays)} tensors, {sum(v.size for v in arrays.values()):,} values in {options.target}")


if __name__ == "__main__":
    main()
