"""The posed hand mesh: its format, and the laws of its forward."""

import numpy as np
import pytest
import torch

from manip_core.hand import palm_rotation
from manip_core.hand_skeleton import FINGERS, TIPS, Keypoint
from manip_model.hand_model import HandModel, load_hand_model
from manip_model.hand_pose import pose_from, values_from
from manip_model.hand_regions import CONTACT_REGIONS, MESH_CHAINS, MESH_JOINTS, vertex_regions
from manip_model.rotations import matrix_from_rotvec, mirrored

LEFT, RIGHT = 0, 1
FLIP = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)


@pytest.fixture(scope="module")
def model() -> HandModel:
    return HandModel.open().double()


@pytest.fixture
def given() -> dict[str, torch.Tensor]:
    """Four random hands."""
    torch.manual_seed(0)
    return {
        "rotations": matrix_from_rotvec(0.5 * torch.randn(4, 16, 3, dtype=torch.float64)),
        "shape": torch.randn(4, 10, dtype=torch.float64),
        "translation": torch.randn(4, 3, dtype=torch.float64),
        "side": torch.tensor([LEFT, RIGHT, RIGHT, LEFT]),
    }


def rest(model: HandModel, side: int = RIGHT):
    eye = torch.eye(3, dtype=torch.float64).expand(1, 16, 3, 3)
    zeros = [torch.zeros(1, n, dtype=torch.float64) for n in (10, 3)]
    return model(eye, *zeros, torch.tensor([side]))


def closed_mesh(model: HandModel) -> tuple[np.ndarray, np.ndarray]:
    """Rest vertices and faces with a lid over the rim: ``(779, 3)`` and ``(1554, 3)``."""
    faces, vertices = model.faces.numpy(), model.template.numpy()
    rim = rim_edges(faces)
    lid = np.column_stack((rim[:, ::-1], np.full(len(rim), len(vertices))))
    centre = vertices[rim[:, 0]].mean(axis=0)
    return np.vstack((vertices, centre)), np.vstack((faces, lid))


def rim_edges(faces: np.ndarray) -> np.ndarray:
    sides = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    there = {tuple(side) for side in sides.tolist()}
    return np.array([side for side in there if side[::-1] not in there])


def test_mesh_is_a_disk_with_one_rim_of_16_edges(model):
    faces = model.faces.numpy()
    assert faces.shape == (1538, 3) and model.template.shape == (778, 3)
    sides = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    assert len(np.unique(sides, axis=0)) == len(sides)  # each side once each way: one winding
    edges = np.unique(np.sort(sides, axis=1), axis=0)
    assert set(faces.ravel().tolist()) == set(range(778))
    assert 778 - len(edges) + 1538 == 1  # Euler characteristic of a disk
    follow = dict(rim_edges(faces).tolist())
    loop, at = [], next(iter(follow))
    while at not in loop:
        loop.append(at)
        at = follow[at]
    assert len(loop) == len(follow) == 16
    # It lies at the wrist, which it runs around.
    ring = model.template.numpy()[loop]
    assert np.abs(ring.mean(axis=0) - model.joint_template[0].numpy()).max() < 0.03


def test_faces_look_outward_and_none_is_degenerate(model):
    vertices, faces = closed_mesh(model)
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    volume = (corners[:, 0] * normals).sum() / 6
    assert 2e-4 < volume < 6e-4  # [m³], a grown hand is 0.3 to 0.4 litres
    area = np.linalg.norm(normals, axis=1)[:1538] / 2
    assert area.min() > 1e-7
    unit = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    beside: dict[tuple, list[int]] = {}
    for i, face in enumerate(faces[:1538]):
        for k in range(3):
            beside.setdefault(tuple(sorted((face[k], face[(k + 1) % 3]))), []).append(i)
    pairs = np.array([pair for pair in beside.values() if len(pair) == 2])
    # A flipped face would lie back on its neighbour; the webs between fingers are just sharp.
    assert (unit[pairs[:, 0]] * unit[pairs[:, 1]]).sum(axis=1).min() > -0.5


def test_joints_lie_inside_the_hand(model):
    vertices, faces = closed_mesh(model)
    for joint in model.joint_template.numpy():
        a, b, c = np.moveaxis(vertices[faces] - joint, 1, 0)
        la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
        # Van Oosterom and Strackee 1983: the solid angle of a triangle.
        over = (a * np.cross(b, c)).sum(1)
        under = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
        winding = (2 * np.arctan2(over, under)).sum() / (4 * np.pi)
        assert winding == pytest.approx(1, abs=1e-6)


def test_weights_and_regressor_are_convex(model):
    assert model.weights.shape == (778, 16)
    assert model.weights.min() >= 0
    assert model.weights.sum(1).numpy() == pytest.approx(np.ones(778), abs=1e-6)
    assert model.weights.argmax(1).unique().tolist() == list(range(16))
    low, high = model.template.min(0).values, model.template.max(0).values
    assert ((model.joint_template > low) & (model.joint_template < high)).all()


def test_rest_pose_is_the_template_in_manos_axes(model):
    mesh = rest(model)
    assert torch.allclose(mesh.vertices[0], model.template, atol=1e-9)
    assert torch.allclose(mesh.origins[0], model.joint_template, atol=1e-9)
    joints = mesh.joints[0].numpy()
    palm = palm_rotation(joints)
    # Columns: out of the palm -y, to the thumb's side +z, to the middle knuckle -x.
    expected = np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]])
    assert np.degrees(np.arccos((np.trace(palm.T @ expected) - 1) / 2)) < 4
    for finger, chain in zip(FINGERS, MESH_CHAINS, strict=True):
        tip = joints[Keypoint[f"{finger.upper()}_TIP"]]
        bones = np.diff([*mesh.origins[0].numpy()[chain], tip], axis=0)
        bones /= np.linalg.norm(bones, axis=1, keepdims=True)
        assert (bones[:-1] * bones[1:]).sum(1).min() > np.cos(np.radians(15)), finger
        assert bones[0] @ [-1, 0, 0] > (0.6 if finger == "thumb" else 0.9)
    assert 0.17 < np.linalg.norm(joints[Keypoint.MIDDLE_TIP] - joints[0]) < 0.21  # a grown hand


def test_shape_reaches_children_and_giants(model):
    shape = torch.zeros(3, 10, dtype=torch.float64)
    shape[:, 0] = torch.tensor([-4.0, 0.0, 2.0])
    eye = torch.eye(3, dtype=torch.float64).expand(3, 16, 3, 3)
    mesh = model(eye, shape, torch.zeros(3, 3), torch.ones(3, dtype=torch.int64))
    length = (mesh.joints[:, Keypoint.MIDDLE_TIP] - mesh.joints[:, 0]).norm(dim=-1)
    assert length[0] < 0.55 * length[1]
    assert length[2] > 1.2 * length[1]
    # One unit is the spread among people: no direction moves the hand much or not at all.
    moves = model.shape_directions.norm(dim=1).mean(0)
    assert (moves > 1e-4).all() and (moves < 2e-2).all()


def test_a_turned_wrist_turns_the_whole_hand(model, given):
    turn = matrix_from_rotvec(torch.randn(4, 3, dtype=torch.float64))
    given["translation"] = torch.zeros(4, 3, dtype=torch.float64)
    before = model(**given)
    pivot = model.wrist(given["shape"], given["side"])[:, None]
    turned = given["rotations"].clone()
    turned[:, 0] = turn @ turned[:, 0]
    after = model(**(given | {"rotations": turned}))
    for name in ("vertices", "joints", "origins"):
        expected = (getattr(before, name) - pivot) @ turn.mT + pivot
        assert torch.allclose(getattr(after, name), expected, atol=1e-7)
    assert torch.allclose(after.rotations, turn[:, None] @ before.rotations, atol=1e-9)


def test_a_left_hand_is_a_right_one_in_a_mirror(model, given):
    given["translation"] = torch.zeros(4, 3, dtype=torch.float64)
    right = model(**(given | {"side": torch.ones(4, dtype=torch.int64)}))
    given |= {"rotations": mirrored(given["rotations"]), "side": torch.zeros(4, dtype=torch.int64)}
    left = model(**given)
    for name in ("vertices", "joints", "origins"):
        assert torch.allclose(getattr(left, name), getattr(right, name) * FLIP, atol=1e-12)
    assert torch.allclose(left.rotations, mirrored(right.rotations), atol=1e-12)
    assert torch.equal(model.faces_of("left"), model.faces.flip(1))
    assert torch.equal(model.faces_of("right"), model.faces)
    with pytest.raises(ValueError, match="left, right, got 'both'"):
        model.faces_of("both")


def test_wrist_keypoints_and_proper_rotations(model, given):
    mesh = model(**given)
    wrist = model.wrist(given["shape"], given["side"]) + given["translation"]
    assert torch.allclose(mesh.joints[:, 0], wrist, atol=1e-12)
    assert torch.allclose(torch.linalg.det(mesh.rotations), torch.ones(4, 16).double())
    for row, chain in enumerate(MESH_CHAINS):
        assert torch.equal(mesh.joints[:, 1 + 4 * row : 4 + 4 * row], mesh.origins[:, chain])
    assert torch.equal(mesh.joints[:, TIPS], mesh.vertices[:, model.tips])
    assert [MESH_JOINTS[chain[0]] for chain in MESH_CHAINS] == [f"{f}1" for f in FINGERS]


def test_one_bent_joint_moves_only_what_hangs_on_it(model):
    rotations = torch.eye(3, dtype=torch.float64).repeat(1, 16, 1, 1)
    joint = MESH_JOINTS.index("ring2")
    rotations[:, joint] = matrix_from_rotvec(torch.tensor([0, 0, 1.0], dtype=torch.float64))
    flat = rest(model)
    mesh = model(rotations, torch.zeros(1, 10), torch.zeros(1, 3), torch.tensor([RIGHT]))
    moved = (mesh.joints - flat.joints)[0].norm(dim=-1) > 1e-9
    assert moved.nonzero().flatten().tolist() == [Keypoint.RING_DIP, Keypoint.RING_TIP]
    assert (mesh.joints - flat.joints)[0, Keypoint.RING_TIP, 1] < -0.02  # closes to the palm
    free = model.weights[:, joint : joint + 2].sum(1) == 0
    assert torch.allclose(mesh.vertices[0, free], flat.vertices[0, free], atol=1e-12)


def test_gradients_match_finite_differences(model, given):
    def some(rotations, shape, translation):
        mesh = model(rotations, shape, translation, given["side"][:1])
        return mesh.vertices[:, ::97], mesh.joints[:, ::4], mesh.rotations[:, 3]

    inputs = [given[k][:1].clone().requires_grad_() for k in ("rotations", "shape", "translation")]
    assert torch.autograd.gradcheck(some, inputs)


def test_half_precision_around_it_does_not_blur_the_hand(given):
    model = HandModel.open()
    given = {k: v.float() if v.is_floating_point() else v for k, v in given.items()}
    exact = model(**given).vertices
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(**given).vertices, exact)
    assert model.state_dict() == {}  # checkpoints must not carry MANO


def test_wrong_shapes_are_named(model, given):
    with pytest.raises(ValueError, match=r"shape must be \(4, 10\), got \(4, 9\)"):
        model(**(given | {"shape": given["shape"][:, :9]}))
    with pytest.raises(ValueError, match=r"rotations must be \(4, 16, 3, 3\), got \(4, 48\)"):
        model(**(given | {"rotations": torch.zeros(4, 48)}))


def test_contact_regions_cover_the_hand(model):
    regions = vertex_regions(model)
    assert regions.shape == (778,)
    assert np.bincount(regions, minlength=len(CONTACT_REGIONS)).min() >= 20
    tips = [CONTACT_REGIONS[r] for r in regions[model.tips.numpy()]]
    assert tips == [f"{finger}_tip" for finger in FINGERS]
    rim = np.unique(rim_edges(model.faces.numpy()))
    assert set(regions[rim]) == {CONTACT_REGIONS.index("palm")}


def test_open_hand_is_what_loads_without_mano(monkeypatch, tmp_path):
    monkeypatch.delenv("MANO_DIR", raising=False)
    assert load_hand_model().kind == "open"
    monkeypatch.setenv("MANO_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"nowhere.*set MANO_DIR"):
        load_hand_model()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pca", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_pose_forms_there_and_back(model, side, pca, flat):
    values = np.random.default_rng(0).normal(size=(5, 51))
    form = {"pca": pca, "flat": flat, "side": side}
    pose, translation = pose_from(values, model, **form)
    assert pose.shape == (5, 48) and translation.shape == (5, 3)
    back = values_from(pose, model, translation=translation, **form)
    assert back == pytest.approx(values, abs=1e-6)
    tensor, _ = pose_from(torch.from_numpy(values[0, :48]), model, **form)
    assert tensor.numpy() == pytest.approx(pose[0])


def test_zero_values_are_the_mean_or_the_flat_hand(model):
    zero = np.zeros(48)
    assert not pose_from(zero, model)[0].any() and pose_from(zero, model)[1] is None
    assert pose_from(zero, model, pca=True, flat=False)[0][3:] == pytest.approx(model.pose_mean)
    first = np.eye(48)[3]
    pose, _ = pose_from(first, model, pca=True)
    assert pose[3:] == pytest.approx(model.pose_components[0])
    right = torch.from_numpy(pose_from(zero, model, flat=False)[0]).view(16, 3)
    left = torch.from_numpy(pose_from(zero, model, flat=False, side="left")[0]).view(16, 3)
    assert torch.allclose(matrix_from_rotvec(left), mirrored(matrix_from_rotvec(right)))


def test_principal_poses_are_orthonormal_and_start_with_a_grip(model):
    components = model.pose_components
    assert components @ components.T == pytest.approx(np.eye(45), abs=1e-5)
    flexion = components[0].reshape(15, 3)[:12, 2]
    assert (flexion > 0).all()  # the fingers close together


@pytest.mark.parametrize("count", [3, 45, 50, 52])
def test_another_number_of_pose_values_is_refused(model, count):
    with pytest.raises(ValueError, match=f"48 values, or 51 .*, got {count}"):
        pose_from(np.zeros(count), model)
    with pytest.raises(ValueError, match=f"48 values, got {count}"):
        values_from(np.zeros((2, count)), model)
