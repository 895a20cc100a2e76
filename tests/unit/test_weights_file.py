"""Files of small networks: what is read of them, and what is refused."""

import numpy as np
import pytest
import torch

from manip_training.weights_file import read_weights, restored


def test_what_was_written_is_read_and_sizes_that_are_not_told_have_a_default(tmp_path):
    layer = torch.nn.Linear(3, 2)
    weights = {name: value.detach().numpy() for name, value in layer.state_dict().items()}
    half = {name: value.astype(np.float16) for name, value in weights.items()}
    np.savez(tmp_path / "a.npz", **half, **{"format": "one-1", "config/width": 5})
    kind, sizes, held = read_weights(
        tmp_path / "a.npz", "one", ("one-2", "one-1"), {"width": 1, "depth": 4}
    )
    assert kind == "one-1" and sizes == {"width": 5, "depth": 4}
    assert set(held) == {"weight", "bias"}
    other = restored(torch.nn.Linear(3, 2), held)
    assert not other.training and other.weight.dtype == torch.float32
    np.testing.assert_allclose(other.weight.detach(), weights["weight"], atol=1e-3)


def test_files_of_something_else_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", format="two-1", weight=np.zeros(3))
    with pytest.raises(ValueError, match="no file of one weights: it is not a one-2"):
        read_weights(tmp_path / "a.npz", "one", ("one-2", "one-1"), {})
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path / "b.npz", "one", ("one-2",), {})
