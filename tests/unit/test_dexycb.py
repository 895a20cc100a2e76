"""The loader: published splits, labels that fit the pictures, corrupt trees that stay usable."""

import shutil

import cv2
import numpy as np
import pytest
import torch
import trimesh
import yaml

from manip_core.hand import SIDES
from manip_model.config import YCB_CLASSES
from manip_model.hand_model import HandModel
from manip_model.rotations import matrix_from_rotvec
from manip_training.batch import check
from manip_training.data import generate, load_dataset
from manip_training.data.cache import DeviceCache
from manip_training.data.contacts import (
    FIRM,
    LIGHT,
    MANIPULATION,
    NONE,
    TOUCH,
    ObjectSurface,
    PosedObject,
    label_contacts,
)
from manip_training.data.dexycb import DexYCB
from manip_training.data.generate import generate_tree
from manip_training.data.layout import SERIALS, SETUPS, SPLITS, SUBJECTS, BadData, split
from manip_training.data.primitives import PRIMITIVES

SUBJECT = SUBJECTS[0]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("data") / "tree"
    generate_tree(root, subjects=1, sequences=6, serials=2, frames=6, seed=4)
    yield root
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def hand():
    return HandModel.open()


@pytest.fixture(scope="module")
def data(tree, hand):
    return DexYCB(tree, setup="s1", hand_model=hand)


@pytest.fixture(scope="module")
def samples(data):
    return [data[i] for i in range(len(data))]


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "tree")


def stacked(samples):
    return {k: torch.from_numpy(np.stack([s[k] for s in samples])) for k in samples[0]}


def posed(hand, batch):
    rotations = matrix_from_rotvec(batch["mano_pose"].view(-1, 16, 3))
    return hand(rotations, batch["mano_shape"], batch["mano_translation"], batch["side"])


def first_labels(root):
    return sorted((root / SUBJECT).glob("*/*/labels_000001.npz"))[0]


def rewrite(path, **changes):
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez_compressed(path, **arrays | changes)


# Subjects x cameras x sequences; rules of github.com/NVlabs/dex-ycb-toolkit, dex_ycb.py.
@pytest.mark.parametrize(
    ("setup", "counts"),
    [
        ("s0", (6400, 320, 1280)),
        ("s1", (5600, 800, 1600)),
        ("s2", (6000, 1000, 1000)),
        ("s3", (6000, 800, 1200)),
    ],
)
def test_splits_have_the_published_sizes_and_share_nothing(setup, counts):
    triples = []
    for name, count in zip(SPLITS, counts, strict=True):
        part = split(setup, name)
        assert part.count() == count
        triples.append(
            {(s, c, q) for s in part.subjects for c in part.serials for q in part.sequences}
        )
    assert sum(map(len, triples)) == len(set.union(*triples)) == 8000


def test_setups_hold_out_what_they_say():
    parts = {(s, n): split(s, n) for s in SETUPS for n in SPLITS}
    assert parts["s1", "test"].subjects == {7, 8}
    assert parts["s2", "test"].serials == {7}
    assert parts["s3", "test"].sequences == {
        i for k in (7, 11, 15) for i in range(5 * k, 5 * k + 5)
    }
    assert parts["s0", "val"].sequences == set(range(4, 100, 5))


def test_samples_are_batches(samples):
    check(stacked(samples))


def test_frames_without_a_hand_are_left_out_and_counted(data):
    assert len(data) == 6 * 2 * 5
    assert data.without_hand == 6 * 2
    assert not len(data.skipped)


def test_mesh_joints_and_pixels_agree(samples, hand):
    batch = stacked(samples)
    assert batch["mano_valid"].all()
    assert {0, 1} == set(batch["side"].tolist())
    assert (posed(hand, batch).joints - batch["joints"]).norm(dim=-1).max() < 1e-5
    slopes = batch["joints"][..., :2] / batch["joints"][..., 2:]
    camera = batch["camera"][:, None]
    pixels = slopes * camera[..., :2] + camera[..., 2:]
    assert (pixels - batch["keypoints_px"]).abs().max() < 1e-3


def scene_of(data, tree, index):
    """Labels on disk, and a function that projects into the whole picture."""
    picture, frame = data.where(index)
    calibration = tree / "calibration" / "intrinsics" / f"{picture.parent.name}_640x480.yml"
    lens = yaml.safe_load(calibration.read_text())["color"]
    focal, centre = (lens["fx"], lens["fy"]), (lens["ppx"], lens["ppy"])
    labels = dict(np.load(picture.with_name(f"labels_{frame:06d}.npz")))
    return labels, lambda points: points[:, :2] / points[:, 2:] * focal + centre


def test_the_hand_is_painted_where_its_labels_are(data, tree, hand):
    for i in range(0, len(data), 7):
        labels, project = scene_of(data, tree, i)
        corners = project(posed(hand, stacked([data[i]])).vertices[0].numpy())
        outline = np.zeros((480, 640), np.uint8)
        for triangle in np.round(corners[hand.faces.numpy()]).astype(np.int32):
            cv2.fillConvexPoly(outline, triangle, 1)
        painted = labels["seg"] == 255
        assert painted.sum() > 500
        assert outline[painted].mean() > 0.999
        # Four pixels beside, it would not fit.
        assert np.roll(outline, 4, axis=1)[painted].mean() < 0.98


def test_objects_are_painted_where_their_labels_are(data, tree):
    for i in range(0, len(data), 11):
        labels, project = scene_of(data, tree, i)
        index = int(data[i]["object_class"][0])
        pose = labels["pose_y"][0]
        mesh = PRIMITIVES[YCB_CLASSES[index]].mesh()
        corners = project(mesh.vertices @ pose[:, :3].T + pose[:, 3]).astype(np.float32)
        outline = np.zeros((480, 640), np.uint8)
        cv2.fillConvexPoly(outline, np.round(cv2.convexHull(corners)).astype(np.int32), 1)
        painted = labels["seg"] == index + 1
        assert painted.any()
        assert outline[painted].mean() > 0.99


def test_object_labels(samples, data):
    for sample in samples:
        known = sample["object_class"] >= 0
        assert 3 <= known.sum() <= 4
        assert not known[known.sum() :].any()
        np.testing.assert_array_equal(sample["object_pose_valid"], known)
        assert sample["object_grasped"] == 0
        rotation = sample["object_rotation"][known]
        np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-5)
        item = PRIMITIVES[YCB_CLASSES[sample["object_class"][0]]]
        local = (sample["object_surface"][:, :3] - sample["object_position"][0]) @ rotation[0]
        # The mesh of a round object has flat sides, up to 0.2 mm within the circle.
        assert np.abs(item.distance(local)).max() < 3e-4
        normals = sample["object_surface"][:, 3:]
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
        out = local + 1e-3 * normals @ rotation[0]
        assert (item.distance(out) > 5e-4).all()


def test_contact_labels_are_distances_to_the_object(samples, hand):
    batch = stacked(samples)
    assert batch["contact_valid"].all()
    vertices = posed(hand, batch).vertices.numpy()
    for i, sample in enumerate(samples):
        distance = np.full(778, np.inf)
        for slot in np.flatnonzero(sample["object_pose_valid"]):
            rotation, place = sample["object_rotation"][slot], sample["object_position"][slot]
            item = PRIMITIVES[YCB_CLASSES[sample["object_class"][slot]]]
            distance = np.minimum(distance, item.distance((vertices[i] - place) @ rotation))
        touching = sample["contact_map"] > 0
        assert (distance[touching] < TOUCH + 3e-4).all()
        assert (distance[~touching] > TOUCH - 3e-4).all()
        some = sample["contact_type"] != NONE
        assert some.any() == touching.any()
        length = np.linalg.norm(sample["contact_force_direction"], axis=1)
        np.testing.assert_allclose(length, some, atol=1e-5)
        for point in sample["contact_point"][some]:
            nearest = np.linalg.norm(vertices[i][touching] - point, axis=1).min()
            assert nearest < 0.02
    kinds = set(batch["contact_type"].unique().tolist())
    assert kinds == {NONE, LIGHT, FIRM, MANIPULATION}


def test_contact_types_follow_their_rule():
    surface = ObjectSurface(trimesh.creation.box((0.1, 0.1, 0.1)))
    still = np.eye(3, 4)
    regions = np.zeros(778, dtype=int)
    far = np.full((778, 3), 1.0)

    def kind(vertices, previous=None):
        found = label_contacts(vertices, regions, [PosedObject(surface, still, previous)], 1 / 30)
        return found.type[0], found

    assert kind(far)[0] == NONE
    hand = far.copy()
    hand[:2] = (0.052, 0, 0), (0.052, 0.01, 0)
    light, found = kind(hand)
    assert light == LIGHT
    np.testing.assert_allclose(found.point[0], (0.05, 0.005, 0), atol=1e-6)
    np.testing.assert_allclose(found.direction[0], (-1, 0, 0), atol=1e-6)
    assert found.map.sum() == 2
    hand[0, 0] = 0.047
    assert kind(hand)[0] == FIRM
    moved = still.copy()
    moved[1, 3] = 0.004
    assert kind(hand, moved)[0] == MANIPULATION
    moved[1, 3] = 0.002
    assert kind(hand, moved)[0] == FIRM
    hand[:9] = (0.053, 0, 0)
    assert kind(hand)[0] == FIRM


@pytest.mark.parametrize("item", [PRIMITIVES["003_cracker_box"], PRIMITIVES["025_mug"]])
def test_distances_to_meshes_are_those_of_the_solids(item):
    points = np.random.default_rng(0).uniform(-0.13, 0.13, (2000, 3))
    distance, closest, normal = ObjectSurface(item.mesh()).closest(points)
    np.testing.assert_allclose(distance, item.distance(points), atol=4e-4)
    np.testing.assert_allclose(
        np.linalg.norm(points - closest, axis=1), np.abs(distance), atol=1e-9
    )
    outside = distance > 1e-6
    assert (((points - closest) * normal).sum(1)[outside] > 0).all()


def test_videos_and_times(data):
    assert len(np.unique(data.sequence_ids)) == 12
    for video in np.unique(data.sequence_ids):
        times = data.frame_times[data.sequence_ids == video]
        np.testing.assert_allclose(np.diff(times), 1 / 30)


def test_side_limit_and_stride(tree, hand, data):
    counts = [len(DexYCB(tree, "s1", hand_model=hand, side=side)) for side in SIDES]
    assert sum(counts) == len(data)
    assert min(counts) > 0
    few = [DexYCB(tree, "s1", hand_model=hand, limit=7) for _ in range(2)]
    assert len(few[0]) == 7
    assert [few[0].where(i) for i in range(7)] == [few[1].where(i) for i in range(7)]
    assert len(DexYCB(tree, "s1", hand_model=hand, stride=2)) == 6 * 2 * 2
    assert len(DexYCB(tree, "s1", hand_model=hand, limit=10**6)) == len(data)


def test_smaller_trees_split_by_place(tree, hand):
    folders = sorted(p.name for p in (tree / SUBJECT).iterdir())
    val = DexYCB(tree, "s0", "val", hand_model=hand)
    assert {val.where(i)[0].parts[-3] for i in range(len(val))} == {folders[4]}
    with pytest.raises(ValueError, match=r"no usable frame in s2/test.*0 videos"):
        DexYCB(tree, "s2", "test", hand_model=hand)


def test_corrupt_things_are_skipped_and_named(copy, hand, data):
    sequences = sorted((copy / SUBJECT).iterdir())
    (sequences[0] / "meta.yml").write_text("num_frames: [")
    (sequences[1] / "meta.yml").unlink()
    meta = yaml.safe_load((sequences[2] / "meta.yml").read_text())
    (sequences[2] / "meta.yml").write_text(yaml.safe_dump(meta | {"mano_calib": ["none"]}))
    shutil.rmtree(sequences[3] / SERIALS[1])
    video = sequences[3] / SERIALS[0]
    (video / "labels_000001.npz").write_bytes((video / "labels_000001.npz").read_bytes()[:-900])
    (video / "color_000002.jpg").unlink()
    (video / "color_000003.jpg").write_bytes((video / "color_000003.jpg").read_bytes()[:3000])
    rewrite(video / "labels_000004.npz", joint_3d=np.full((1, 21, 3), np.nan, np.float32))
    rewrite(video / "labels_000005.npz", joint_3d=np.full((1, 21, 3), 0.01, np.float32))
    found = DexYCB(copy, "s1", hand_model=hand)
    assert len(found) == 2 * 2 * 5
    report = str(found.skipped)
    for why in (
        "meta.yml is not YAML",
        "meta.yml is missing",
        "mano.yml is missing",
        "folder is missing",
        "label file is truncated or no npz",
        "picture is missing",
        "picture is truncated or no JPEG",
        "joint_3d is not finite",
        "joint_3d has points less than 0.1 m before the camera",
    ):
        assert why in report
    assert len(found.skipped) == 9
    assert f"{SUBJECT}/{sequences[3].name}/{SERIALS[0]} frame 2" in dict(found.skipped.entries)


def test_what_is_corrupt_within_a_frame_is_named_when_it_is_read(copy, hand):
    labels = first_labels(copy)
    picture = labels.with_name(labels.name.replace("labels", "color")).with_suffix(".jpg")
    sound = DexYCB(copy, "s1", hand_model=hand)
    with np.load(labels) as stored:
        pose = stored["pose_m"]
    rewrite(labels, pose_m=pose[:, :50])
    with pytest.raises(BadData, match=r"pose_m must be \(1, 51\) or \(1, 48\), got \(1, 50\)"):
        sound[0]
    rewrite(labels, pose_m=pose)
    cv2.imwrite(str(picture), np.zeros((240, 320, 3), np.uint8))
    said = f"{picture} is no picture of 640 x 480 px"
    with pytest.raises(BadData, match=said):
        sound[0]
    assert DeviceCache(sound, "cpu").dropped == [f"sample 0: {said}"]


def test_a_missing_calibration_costs_its_camera(copy, hand):
    (copy / "calibration" / "intrinsics" / f"{SERIALS[0]}_640x480.yml").unlink()
    found = DexYCB(copy, "s1", hand_model=hand)
    assert len(found) == 6 * 5
    assert SERIALS[0] in dict(found.skipped.entries)


def test_nothing_left_is_an_error(copy, hand):
    for path in copy.glob("*/*/meta.yml"):
        path.unlink()
    with pytest.raises(ValueError, match=r"no usable frame.*6 x meta.yml is missing"):
        DexYCB(copy, "s1", hand_model=hand)


def test_without_mano_joints_and_objects_remain(copy, hand):
    for path in copy.glob("*/*/meta.yml"):
        meta = yaml.safe_load(path.read_text())
        del meta["hand_model"]
        path.write_text(yaml.safe_dump(meta))
    with pytest.warns(UserWarning, match="hands are of mano, the hand model is open.*MANO_DIR"):
        found = DexYCB(copy, "s1", hand_model=hand, limit=3)
    sample = found[0]
    check(stacked([sample]))
    assert not sample["mano_valid"]
    assert not sample["contact_valid"]
    assert not sample["mano_pose"].any()
    assert sample["joints_valid"].all()
    assert sample["object_pose_valid"][0]
    assert sample["object_surface_valid"]


def test_a_mesh_that_contradicts_the_joints_is_not_valid(copy, hand):
    path = first_labels(copy)
    with np.load(path) as stored:
        pose = stored["pose_m"]
    pose[0, 49] += 0.02
    rewrite(path, pose_m=pose)
    found = DexYCB(copy, "s1", hand_model=hand)
    with pytest.warns(UserWarning, match="more than 0.01 m from joint_3d"):
        assert not found[0]["mano_valid"]
    assert found[1]["mano_valid"]


def test_a_pose_without_translation_hangs_on_the_wrist(copy, hand, data):
    path = first_labels(copy)
    with np.load(path) as stored:
        rewrite(path, pose_m=stored["pose_m"][:, :48])
    sample = DexYCB(copy, "s1", hand_model=hand)[0]
    assert sample["mano_valid"]
    np.testing.assert_allclose(sample["mano_translation"], data[0]["mano_translation"], atol=1e-5)


def test_an_object_without_a_pose_keeps_its_class(copy, hand, data):
    path = first_labels(copy)
    with np.load(path) as stored:
        poses = stored["pose_y"]
    poses[:2] = 0
    rewrite(path, pose_y=poses)
    sample = DexYCB(copy, "s1", hand_model=hand)[0]
    np.testing.assert_array_equal(sample["object_class"], data[0]["object_class"])
    assert sample["object_pose_valid"][:3].tolist() == [False, False, True]
    assert not sample["contact_valid"]
    assert not sample["object_surface_valid"]


def test_objects_of_unknown_number_are_left_out(copy, hand):
    for path in copy.glob("*/*/meta.yml"):
        meta = yaml.safe_load(path.read_text())
        meta["ycb_ids"][0] = 77
        path.write_text(yaml.safe_dump(meta))
    with pytest.warns(UserWarning, match=r"unknown numbers \[77\]"):
        sample = DexYCB(copy, "s1", hand_model=hand, limit=1)[0]
    assert sample["object_grasped"] == -1
    assert (sample["object_class"] >= 0).sum() in (2, 3)
    assert not sample["contact_valid"]


def test_a_missing_mesh_costs_its_contacts_alone(copy, hand, data):
    index = int(data[0]["object_class"][0])
    (copy / "models" / YCB_CLASSES[index] / "textured_simple.obj").unlink()
    found = DexYCB(copy, "s1", hand_model=hand)
    assert index not in found.object_points
    assert f"models/{YCB_CLASSES[index]}" in dict(found.skipped.entries)
    sample = found[0]
    assert sample["mano_valid"]
    assert sample["object_pose_valid"][0]
    assert not sample["contact_valid"]


def test_where_the_data_comes_from_is_said(monkeypatch, tmp_path, tree, hand):
    monkeypatch.delenv("DEX_YCB_DIR", raising=False)
    with pytest.raises(FileNotFoundError, match=r"https://dex-ycb.github.io.*DEX_YCB_DIR"):
        DexYCB()
    with pytest.raises(FileNotFoundError, match="none of DexYCB's subjects"):
        DexYCB(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        DexYCB(tmp_path / "nowhere")
    monkeypatch.setenv("DEX_YCB_DIR", str(tree))
    assert len(DexYCB(setup="s1", hand_model=hand, limit=2)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"setup": "s4"}, "s0, s1, s2, s3, got 's4'"),
        ({"split": "dev"}, "train, val, test, got 'dev'"),
        ({"side": "up"}, "left, right, both, got 'up'"),
        ({"limit": 0}, "limit must be 1 or more, got 0"),
        ({"stride": 0}, "stride must be 1 or more, got 0"),
    ],
)
def test_bad_options_are_named(tree, options, message):
    with pytest.raises(ValueError, match=message):
        DexYCB(tree, **options)


def test_generated_data_by_name(tmp_path):
    root = tmp_path / "made"
    options = dict(tree=dict(subjects=1, sequences=1, serials=1, frames=3, seed=9), root=root)
    first = load_dataset("generated", **options)
    assert len(first) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["made"]
    again = load_dataset("generated", **options)
    np.testing.assert_array_equal(first[0]["image"], again[0]["image"])
    with pytest.raises(FileExistsError, match="holds something"):
        generate_tree(root)
    with pytest.raises(ValueError, match="frames must be within 1"):
        generate_tree(tmp_path / "other", frames=0)
    with pytest.raises(ValueError, match="needs root"):
        load_dataset("generated")
    with pytest.raises(ValueError, match="dexycb, generated, got 'ho3d'"):
        load_dataset("ho3d")


def test_of_two_that_generate_at_once_one_tree_stays(tmp_path, monkeypatch):
    root = tmp_path / "made"
    options = dict(subjects=1, sequences=1, serials=1, frames=1)
    write = generate._write_tree

    def beaten(partial, *rest):
        monkeypatch.setattr(generate, "_write_tree", write)
        generate_tree(root, **options)
        write(partial, *rest)

    monkeypatch.setattr(generate, "_write_tree", beaten)
    with pytest.raises(FileExistsError, match="filled meanwhile"):
        generate_tree(root, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


def test_a_seed_makes_the_same_tree_again(tmp_path):
    options = dict(subjects=1, sequences=1, serials=1, frames=1)
    trees = [generate_tree(tmp_path / str(i), seed=i // 2, **options) for i in range(3)]
    pictures = [next(root.glob("2*/*/*/color_000000.jpg")).read_bytes() for root in trees]
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]
