"""A network as it ships: the same numbers come out of torch, ONNX Runtime and OpenVINO."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from manip_model import checkpoint  # noqa: E402
from manip_model.build import build_model  # noqa: E402
from manip_model.camera import CropCamera  # noqa: E402
from manip_model.config import preset  # noqa: E402
from manip_model.export import BUDGET_MM, Pictures, export  # noqa: E402
from manip_model.graph_names import GRAPH, OUTPUTS  # noqa: E402
from manip_model.hand_model import HandModel  # noqa: E402
from manip_model.shards import read_index  # noqa: E402
from manip_model.sigma_reparam import SigmaLinear  # noqa: E402
from manip_perception.runtime_torch import half_  # noqa: E402
from manip_perception.runtimes import make_runtime  # noqa: E402

CONFIG = preset("tiny", image_size=112)


def made_up(count, seed=0, size=112):
    draw = np.random.default_rng(seed)
    # Smooth, as pictures are.
    coarse = torch.from_numpy(draw.uniform(0, 255, (count, 3, 7, 7))).float()
    image = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    camera = torch.tensor([[300.0, 310.0, 50.0, 60.0]]).repeat(count, 1)
    camera += torch.from_numpy(draw.normal(0, 10, (count, 4))).float()
    side = torch.from_numpy(draw.integers(0, 2, count))
    return image.clamp(0, 255).to(torch.uint8), camera, side


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = build_model(CONFIG, HandModel.open()).eval()
    made.settle("cpu", torch.float32)
    return made


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    image, camera, side = made_up(12)
    with torch.no_grad():
        joints = model(image, camera, side).joints
    # As far off as a network is.
    joints = joints + 0.01 * torch.randn(joints.shape, generator=torch.Generator().manual_seed(0))
    return export(model, Pictures(image=image, camera=camera, side=side, joints=joints), folder)


def joints_mm(found, expected):
    """Distances relative to the first point, the wrist of joints."""
    found, expected = np.asarray(found), np.asarray(expected)
    return 1e3 * np.linalg.norm((found - found[:, :1]) - (expected - expected[:, :1]), axis=-1)


def test_what_ships_is_nearly_the_network_that_was_trained(model, exported):
    assert exported.layers == 75
    assert exported.rounded > 60
    assert exported.error_mm > 10
    assert abs(exported.weights_mm - exported.error_mm) < 0.3
    assert exported.total_mm < exported.weights_mm + BUDGET_MM
    image, camera, side = made_up(4, seed=1)
    again = checkpoint.load_model(exported.folder)
    with torch.no_grad():
        assert (
            joints_mm(again(image, camera, side).joints, model(image, camera, side).joints).mean()
            < 1
        )


def test_limits_of_belief_come_from_its_own_pictures_of_hands(exported):
    limits = read_index(exported.folder)["limits"]
    assert limits.keys() == {"spread", "disagreement", "doubt"}
    assert all(value > 0 for value in limits.values())


def test_training_can_start_from_it(exported):
    held = checkpoint.read(exported.folder)
    again = build_model(CONFIG, HandModel.open())
    assert any(isinstance(layer, SigmaLinear) for layer in again.modules())
    checkpoint.put_weights(again, held["weights"], exported.folder)
    folded = checkpoint.load_model(exported.folder).fold_()
    image, camera, side = made_up(2, seed=2)
    with torch.no_grad():
        trained = again.eval()(image, camera, side).joints
        assert joints_mm(folded(image, camera, side).joints, trained).max() < 0.01


def test_the_graph_holds_no_weights_but_refers_to_the_shards(exported):
    path = exported.folder / GRAPH
    assert path.stat().st_size < 600_000
    graph = onnx.load(path, load_external_data=False).graph
    held = [x for x in graph.initializer if x.data_location == onnx.TensorProto.EXTERNAL]
    levels = [x for x in held if x.data_type == onnx.TensorProto.INT8]
    assert len(levels) == exported.layers
    for one in held:
        place = {entry.key: entry.value for entry in one.external_data}
        assert (exported.folder / place["location"]).stat().st_size >= int(place["offset"]) + int(
            place["length"]
        )


@pytest.fixture(scope="module")
def runtimes(exported):
    """A function from a name to that runtime, loaded once, or to a skipped test."""
    made = {}

    def of(name: str):
        pytest.importorskip(name.removesuffix("_cpu"))
        if name not in made:
            made[name] = make_runtime(exported.folder, name, largest=2)
        return made[name]

    yield of
    for runtime in made.values():
        runtime.close()


@pytest.fixture(scope="module")
def expected(runtimes):
    """Of torch, on what ships, with activations as they are."""
    image, camera, side = (x.numpy() for x in made_up(2, seed=3))
    return runtimes("torch_cpu").infer(image, camera, side, side)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("count", [1, 2])
def test_runtimes_agree_with_torch(runtimes, expected, name, count):
    image, camera, side = (x.numpy()[:count] for x in made_up(2, seed=3))
    found = runtimes(name).infer(image, camera, side, side)
    assert tuple(found) == OUTPUTS
    for key, value in found.items():
        assert value.shape == expected[key][:count].shape
        assert np.isfinite(value).all()
    assert joints_mm(found["joints"], expected["joints"][:count]).mean() < 1.5
    assert joints_mm(found["vertices"], expected["vertices"][:count]).mean() < 1.5
    assert np.abs(found["joints"] - expected["joints"][:count]).mean() < 4e-3
    assert np.abs(found["keypoints_px"] - expected["keypoints_px"][:count]).mean() < 0.5


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_folder_of_links_is_as_good_as_the_files(exported, tmp_path, name):
    pytest.importorskip(name)
    for path in exported.folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    runtime = make_runtime(tmp_path, name)
    assert runtime.largest == 1
    runtime.close()


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "torch_cpu"])
def test_the_side_given_is_the_side_of_the_mesh(runtimes, name):
    image, camera, _ = (x.numpy() for x in made_up(1, seed=4))
    runtime = runtimes(name)
    nothing = np.array([-1])
    left, right = (runtime.infer(image, camera, np.array([s]), nothing) for s in (0, 1))
    for found in (left, right):
        found["vertices"] = found["vertices"] - found["vertices"].mean(1, keepdims=True)
    assert np.allclose(left["side_logits"], right["side_logits"], atol=1e-5)
    assert np.allclose(left["vertices"] * (-1, 1, 1), right["vertices"], atol=2e-3)
    likelier = runtime.infer(image, camera, nothing, nothing)
    side = likelier["side_logits"].argmax()
    chosen = (left, right)[side]
    assert np.allclose(likelier["mano_pose"], chosen["mano_pose"], atol=1e-4)
    told = runtime.infer(image, camera, np.array([1]), np.array([1]))
    assert not np.allclose(told["side_logits"], right["side_logits"], atol=1e-6)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "torch_cpu"])
def test_runtimes_refuse_what_they_cannot_take(runtimes, name):
    runtime = runtimes(name)
    image, camera, side = (x.numpy() for x in made_up(3, seed=5))
    with pytest.raises(ValueError, match="1 to 2 crops, got 3"):
        runtime.infer(image, camera, side, side)
    with pytest.raises(ValueError, match="float32"):
        runtime.infer(image[:1].astype(np.float32), camera[:1], side[:1], side[:1])
    with pytest.raises(ValueError, match="cameras"):
        runtime.infer(image[:1], camera, side[:1], side[:1])


class _HostNumbers(TorchDispatchMode):
    """Counts tensors that are made from numbers of Python's, which live on the host."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "lift_fresh" in str(function):
            self.made.append(str(function))
        return function(*args, **(kwargs or {}))


def test_nothing_is_fetched_from_the_host_so_that_a_cuda_graph_can_capture_it(model):
    image, camera, side = made_up(2)
    with torch.no_grad(), _HostNumbers() as numbers:
        model(image, CropCamera(camera), side, side)
    assert not numbers.made


def test_matrices_kept_in_bfloat16_compute_what_autocast_does(exported):
    image, camera, side = made_up(2, seed=6)
    kept = half_(checkpoint.load_model(exported.folder).fold_())
    plain = checkpoint.load_model(exported.folder).fold_()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        a, b = kept(image, camera, side), plain(image, camera, side)
    assert joints_mm(a.joints.float(), b.joints.float()).max() < 0.5


def test_another_hand_than_the_open_one_is_not_exported(model, tmp_path):
    image, camera, side = made_up(3)
    pictures = Pictures(image=image, camera=camera, side=side, joints=torch.zeros(3, 21, 3))
    model.hand_model.kind = "mano"
    try:
        with pytest.raises(ValueError, match="mano"):
            export(model, pictures, tmp_path)
    finally:
        model.hand_model.kind = "open"
    with pytest.raises(ValueError, match="3 or more"):
        pictures.part(slice(2))
