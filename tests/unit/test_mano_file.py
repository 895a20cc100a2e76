"""MANO's files, made up here: what is read of them equals what smplx says of them."""

import os
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from scipy import sparse

from manip_model.hand_model import HandModel
from manip_model.mano_file import read_mano
from manip_model.rotations import matrix_from_rotvec

smplx = pytest.importorskip("smplx")

FLIP = np.array([-1.0, 1.0, 1.0])
SPIN = np.tile(-FLIP, 15)


def right_arrays() -> dict[str, np.ndarray]:
    """The open hand, with made-up pose directions, under MANO's names."""
    rng = np.random.default_rng(0)
    model = HandModel.open()
    faces, weights = model.faces.numpy().astype(np.uint32), model.weights.double().numpy()
    regressor = rng.uniform(size=(16, 778)) * (weights.T > 0.4)
    regressor /= regressor.sum(axis=1, keepdims=True)
    parents = [4294967295, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
    return {
        "v_template": model.template.double().numpy(),
        "f": faces,
        "J_regressor": regressor,
        "kintree_table": np.array([parents, range(16)], dtype=np.uint32),
        "weights": weights,
        "shapedirs": model.shape_directions.double().numpy(),
        "posedirs": rng.normal(size=(778, 3, 135)) * 1e-3,
        "hands_mean": model.pose_mean,
        "hands_components": model.pose_components,
        "bs_style": "lbs",
    }


def left_arrays(published_sign: bool = False) -> dict[str, np.ndarray]:
    """The mirror image; ``published_sign``: with the shape directions wrong along x."""
    right = right_arrays()
    turns = np.tile(np.outer(FLIP, FLIP).ravel(), 15)
    return right | {
        "v_template": right["v_template"] * FLIP,
        "f": right["f"][:, ::-1],
        "shapedirs": right["shapedirs"] * (1 if published_sign else FLIP[:, None]),
        "posedirs": right["posedirs"] * FLIP[:, None] * turns,
        "hands_mean": right["hands_mean"] * SPIN,
        "hands_components": right["hands_components"] * SPIN,
    }


def write(path, arrays, monkeypatch) -> None:
    """A pickle like MANO's: chumpy arrays, a sparse regressor, protocol 2."""
    classes = {}
    for module, name in (("chumpy", None), ("chumpy.ch", "Ch"), ("chumpy.reordering", "Select")):
        made = types.ModuleType(module)
        if name:
            classes[name] = type(name, (), {"__module__": module})
            setattr(made, name, classes[name])
        monkeypatch.setitem(sys.modules, module, made)
    stored = dict(arrays)
    base, choice, plain = classes["Ch"](), classes["Select"](), classes["Ch"]()
    base.x = np.concatenate((np.zeros(5), arrays["shapedirs"].ravel()))
    choice.a, choice.idxs = base, 5 + np.arange(arrays["shapedirs"].size)
    choice.preferred_shape = arrays["shapedirs"].shape
    plain.x = arrays["posedirs"]
    stored |= {"shapedirs": choice, "posedirs": plain}
    stored["J_regressor"] = sparse.csc_matrix(arrays["J_regressor"])
    path.write_bytes(pickle.dumps(stored, protocol=2))
    for module in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        monkeypatch.delitem(sys.modules, module)


def smplx_mesh(arrays, is_right: bool, pose: torch.Tensor, shape: torch.Tensor):
    layer = smplx.MANO(
        "",
        data_struct=smplx.utils.Struct(**arrays),
        is_rhand=is_right,
        use_pca=False,
        flat_hand_mean=True,
        dtype=torch.float64,
    )
    pose = pose.flatten(1)
    return layer(betas=shape, global_orient=pose[:, :3].clone(), hand_pose=pose[:, 3:].clone())


@pytest.mark.parametrize("file_side", ["right", "left", "left as published"])
@pytest.mark.parametrize("side", [0, 1])
def test_forward_equals_smplx(tmp_path, monkeypatch, file_side, side):
    right = file_side == "right"
    arrays = right_arrays() if right else left_arrays("published" in file_side)
    name = "MANO_RIGHT.pkl" if right else "MANO_LEFT.pkl"
    write(tmp_path / name, arrays, monkeypatch)
    model = HandModel.from_mano(tmp_path).double()
    assert model.kind == "mano"
    torch.manual_seed(0)
    pose = 0.4 * torch.randn(3, 16, 3, dtype=torch.float64)
    shape = torch.randn(3, 10, dtype=torch.float64)
    expected = smplx_mesh(right_arrays() if side else left_arrays(), bool(side), pose, shape)
    mesh = model(matrix_from_rotvec(pose), shape, torch.zeros(3, 3), torch.full((3,), side))
    assert torch.allclose(mesh.vertices, expected.vertices, atol=1e-5)
    assert torch.allclose(mesh.origins, expected.joints, atol=1e-5)
    assert torch.equal(mesh.joints[:, 8], mesh.vertices[:, 317])  # index tip
    assert model.pose_mean == pytest.approx(right_arrays()["hands_mean"])
    assert np.array_equal(np.sort(model.faces, 1), np.sort(right_arrays()["f"].astype(int), 1))


def test_a_file_of_the_other_side_is_refused(tmp_path, monkeypatch):
    write(tmp_path / "MANO_RIGHT.pkl", left_arrays(), monkeypatch)
    with pytest.raises(ValueError, match="should hold a right hand, but it holds a left one"):
        HandModel.from_mano(tmp_path)
    write(tmp_path / "hand.pkl", left_arrays(), monkeypatch)
    with pytest.raises(ValueError, match=r"hand.pkl should hold a right hand"):
        HandModel.from_mano(tmp_path / "hand.pkl", side="right")
    assert HandModel.from_mano(tmp_path / "hand.pkl", side="left").kind == "mano"
    with pytest.raises(ValueError, match="left, right, got 'both'"):
        read_mano(tmp_path, side="both")


def test_a_missing_file_says_where_it_was_sought_and_how_to_get_it(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"MANO_RIGHT.pkl.*MANO_LEFT.pkl.*mano.is.tue.mpg.de"
    ):
        HandModel.from_mano(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"absent.pkl; register .* MANO_DIR"):
        HandModel.from_mano(tmp_path / "absent.pkl")


class _Malicious:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"no pickle at all", "is not a MANO file"),
        (pickle.dumps([1, 2]), "it holds a list"),
        (pickle.dumps({"f": np.zeros((3, 3))}), "it lacks J_regressor"),
        (pickle.dumps({"f": _Malicious()}), r"it asks for \w+.mkdir"),
    ],
)
def test_what_is_no_mano_file_is_refused(tmp_path, monkeypatch, content, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        HandModel.from_mano(tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_a_body_model_is_refused(tmp_path, monkeypatch):
    write(tmp_path / "x.pkl", right_arrays() | {"weights": np.zeros((6890, 24))}, monkeypatch)
    with pytest.raises(ValueError, match=r"weights must be \(778, 16\), got \(6890, 24\)"):
        HandModel.from_mano(tmp_path / "x.pkl")
