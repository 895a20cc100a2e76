"""Evaluation of models whose predictions are the truth plus a known error."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from manip_core.hand_skeleton import Keypoint
from manip_model.config import YCB_CLASSES
from manip_model.hand_model import HandModel
from manip_model.outputs import ModelOutput
from manip_model.rotations import matrix_from_rotvec
from manip_training import eval_report, plots
from manip_training.batch import empty
from manip_training.eval_report import Evaluation, Protocol
from manip_training.evaluate import Sequences, evaluate

SIZE, FOCAL, CENTRE = 12, 560.0, 111.5
PROTOCOL = Protocol(dataset="made up", split="test", command="python -m pytest")
CLASSES = (3, 7)


@pytest.fixture(scope="module")
def hand_model():
    return HandModel.open()


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(2)
    return {class_: rng.normal(size=(60, 3)) * 0.03 for class_ in CLASSES}


@pytest.fixture
def batch(hand_model):
    return labelled_batch(SIZE, hand_model)


def labelled_batch(size: int, hand_model: HandModel, seed: int = 0) -> dict:
    """Every label of ``size`` hands, two objects each, the first of them a grasped sphere."""
    draw = torch.Generator().manual_seed(seed)
    batch = empty(size)
    batch["image"] = torch.randint(0, 256, batch["image"].shape, generator=draw).to(torch.uint8)
    batch["camera"][:] = torch.tensor((FOCAL, FOCAL, CENTRE, CENTRE))
    batch["side"] = torch.arange(size) % 2
    pose = 0.25 * torch.randn(size, 48, generator=draw)
    place = torch.tensor((0.0, 0.0, 0.6)) + 0.02 * torch.randn(size, 3, generator=draw)
    shape = torch.randn(size, 10, generator=draw)
    batch |= {"mano_pose": pose, "mano_translation": place, "mano_shape": shape}
    rotations = matrix_from_rotvec(pose.view(size, 16, 3))
    mesh = hand_model(rotations, shape, place, batch["side"])
    batch["joints"] = mesh.joints
    batch["keypoints_px"] = mesh.joints[..., :2] / mesh.joints[..., 2:] * FOCAL + CENTRE
    batch["object_class"][:, :2] = torch.tensor(CLASSES)
    batch["object_pose_valid"][:, :2] = True
    batch["object_position"][:, :2] = place[:, None] + 0.05 * torch.randn(
        size, 2, 3, generator=draw
    )
    turns = torch.randn(size, 2, 3, generator=draw)
    batch["object_rotation"][:, :2] = matrix_from_rotvec(turns)
    batch["object_grasped"][:] = 0
    normals = nn.functional.normalize(torch.randn(size, 256, 3, generator=draw), dim=-1)
    surface = batch["object_position"][:, :1] + 0.03 * normals
    batch["object_surface"] = torch.cat((surface, normals), dim=-1)
    batch["contact_type"] = torch.randint(0, 4, (size, 10), generator=draw)
    batch["contact_point"] = torch.randn(size, 10, 3, generator=draw)
    batch["contact_force_direction"] = normals[:, :10]
    batch["contact_force"] = torch.rand(size, 10, generator=draw)
    batch["contact_map"] = (torch.rand(size, 778, generator=draw) < 0.2).float()
    for name in batch:
        if name.endswith("_valid") and name != "object_pose_valid":
            batch[name][:] = True
    return batch


class Oracle(nn.Module):
    """Says what the batch holds, after ``change`` has had its way with it."""

    def __init__(self, batches, hand_model, change=lambda output: None):
        super().__init__()
        self.batches, self.hand_model, self.change = list(batches), hand_model, change
        self.sides = []
        self.modes = []

    def forward(self, image, camera, side=None):
        self.modes.append((self.training, torch.is_grad_enabled()))
        self.sides.append(side)
        output = truthful(self.batches[len(self.sides) - 1], self.hand_model)
        self.change(output)
        return output


def truthful(batch: dict, hand_model: HandModel) -> ModelOutput:
    """A prediction without error; queries in the order of the objects, then unsure ones."""
    size = len(batch["image"])
    rotations = matrix_from_rotvec(batch["mano_pose"].view(size, 16, 3))
    mesh = hand_model(rotations, batch["mano_shape"], batch["mano_translation"], batch["side"])
    there = batch["object_class"] >= 0
    classes = nn.functional.one_hot(batch["object_class"].clamp(min=0), len(YCB_CLASSES))
    kinds = nn.functional.one_hot(batch["contact_type"], 4)
    joints = batch["joints"].clone()
    return ModelOutput(
        side_logits=4.0 * nn.functional.one_hot(batch["side"], 2),
        side=batch["side"],
        mano_rotations=rotations,
        mano_pose=batch["mano_pose"],
        mano_shape=batch["mano_shape"],
        translation=batch["mano_translation"],
        vertices=mesh.vertices,
        mano_joints=mesh.joints,
        coarse_joints=joints.clone(),
        refinements=[joints],
        joints=joints,
        joints_log_variance=torch.zeros(size, 21, 3),
        keypoints_px=batch["keypoints_px"].clone(),
        keypoint_logits=torch.zeros(size, 21, 256),
        object_class_logits=5.0 * classes,
        object_position=batch["object_position"].clone(),
        object_rotation=batch["object_rotation"].clone(),
        object_confidence_logits=torch.where(there, 3.0, -3.0),
        contact_point=batch["contact_point"].clone(),
        contact_confidence_logits=torch.where(batch["contact_type"] > 0, 2.0, -2.0),
        contact_type_logits=3.0 * kinds,
        contact_force_direction=batch["contact_force_direction"].clone(),
        contact_force=batch["contact_force"].clone(),
        contact_map_logits=batch["contact_map"] * 4 - 2,
    )


def measure(batches, hand_model, change=lambda output: None, **more) -> Evaluation:
    batches = batches if isinstance(batches, list) else [batches]
    protocol = more.pop("protocol", PROTOCOL)
    return evaluate(Oracle(batches, hand_model, change), batches, hand_model, protocol, **more)


def test_the_truth_has_no_error_and_every_figure_is_there(batch, hand_model, points):
    time = Sequences(sequence_ids=np.zeros(SIZE), frame_times=np.arange(SIZE) / 30)
    found = measure(batch, hand_model, sequences=time, object_points=points)
    known = {id_ for group in eval_report.GROUPS.values() for id_ in group}
    assert set(found.figures) == set(found.counts) == known
    best = {"_auc": 1, "accuracy": 1, "recall": 1, "precision": 1, "_f1": 1, "ratio": 1, "_at_": 1}
    for id_, value in found.figures.items():
        if id_.startswith("penetration"):
            continue
        expected = next((v for part, v in best.items() if part in id_), 0)
        # An error by rounding is above the lowest threshold: half a step of the area.
        assert value == pytest.approx(expected, abs=6e-3), id_
    labels = "penetration_labels_max_mm", "penetration_labels_mean_mm"
    for mine, theirs in zip(("penetration_max_mm", "penetration_mean_mm"), labels, strict=True):
        assert found.figures[mine] == pytest.approx(found.figures[theirs], abs=1e-3)
    assert found.protocol.samples == SIZE


def test_known_hand_errors_come_out(batch, hand_model):
    def change(output):
        output.joints += torch.tensor((0.0, 0.003, 0.004))
        output.joints[:, Keypoint.THUMB_TIP, 0] += 0.021
        output.keypoints_px[:, :, 0] += 3.0
        output.coarse_joints[:, 1:] += 0.01
        output.side_logits[:3] *= -1

    figures = measure(batch, hand_model, change).figures
    assert figures["mpjpe_root_mm"] == pytest.approx(1.0, abs=1e-3)
    tip = np.sqrt(21**2 + 5**2)
    assert figures["mpjpe_abs_mm"] == pytest.approx((20 * 5 + tip) / 21, abs=1e-3)
    assert 0 < figures["pa_mpjpe_mm"] < 2.5
    assert figures["mpjpe_2d_px"] == pytest.approx(3.0, abs=1e-4)
    assert figures["coarse_mpjpe_root_mm"] == pytest.approx(10 * np.sqrt(3) * 20 / 21, abs=1e-3)
    assert figures["side_accuracy"] == pytest.approx(1 - 3 / SIZE)
    # 20 joints without error, and one right from the threshold of 21 mm on.
    assert figures["pck_auc"] == pytest.approx((20 + (50 - 21) / 50) / 21, abs=6e-3)


def test_errors_of_joints_and_samples_are_kept(batch, hand_model):
    def change(output):
        output.joints[:, Keypoint.LITTLE_TIP, 2] += 0.001 * torch.arange(SIZE)

    found = measure(batch, hand_model, change)
    per_joint = found.per_joint["root-relative"]
    assert per_joint[Keypoint.LITTLE_TIP] == pytest.approx(np.arange(SIZE).mean(), abs=1e-3)
    assert per_joint[: Keypoint.LITTLE_TIP].max() < 1e-3
    np.testing.assert_allclose(found.per_sample["mpjpe_root_mm"], np.arange(SIZE) / 21, atol=1e-3)
    assert found.figures["mpjpe_root_median_mm"] == pytest.approx(5.5 / 21, abs=1e-3)


def test_the_root_is_the_protocols(batch, hand_model):
    def change(output):
        output.joints[:, Keypoint.MIDDLE_MCP, 0] += 0.021

    knuckle = Protocol(dataset="d", split="s", root=Keypoint.MIDDLE_MCP)
    assert measure(batch, hand_model, change).figures["mpjpe_root_mm"] == pytest.approx(1, abs=1e-3)
    figures = measure(batch, hand_model, change, protocol=knuckle).figures
    assert figures["mpjpe_root_mm"] == pytest.approx(20, abs=1e-2)


def test_a_constant_hand_has_no_spread(batch, hand_model):
    def change(output):
        output.joints[:] = output.joints[:1].clone()

    assert measure(batch, hand_model, change).figures["spread_ratio"] == pytest.approx(0, abs=1e-5)


def test_known_object_errors_come_out(batch, hand_model, points):
    quarter = matrix_from_rotvec(torch.tensor((0.0, 0.0, torch.pi / 2)))

    def change(output):
        output.object_position[:, 0, 2] += 0.01
        output.object_rotation[:, 1] = output.object_rotation[:, 1] @ quarter
        # A second, unsurer query of the first object's class, far away: a false positive.
        output.object_class_logits[:, 2] = output.object_class_logits[:, 0]
        output.object_confidence_logits[:, 2] = 1.0
        output.object_confidence_logits[:4, 1] = -1.0

    found = measure(batch, hand_model, change, object_points=points)
    figures = found.figures
    hits, there = 2 * SIZE - 4, 2 * SIZE
    assert figures["object_recall"] == pytest.approx(hits / there)
    assert figures["object_precision"] == pytest.approx(hits / (hits + SIZE))
    assert figures["object_false_positives_per_image"] == pytest.approx(1.0)
    assert figures["object_position_mm"] == pytest.approx(10 * SIZE / hits, abs=1e-3)
    assert figures["object_rotation_deg"] == pytest.approx(90 * (hits - SIZE) / hits, abs=1e-2)
    assert figures["object_add_s_mm"] < figures["object_add_mm"]
    assert found.counts["object_add_s_mm"] == hits
    # Missed objects are in the area, so it cannot exceed the recall.
    assert found.counts["object_add_s_auc"] == there
    assert 0.5 < figures["object_add_s_auc"] < figures["object_recall"]


def test_only_objects_with_points_have_add(batch, hand_model, points):
    found = measure(batch, hand_model, object_points={CLASSES[1]: points[CLASSES[1]]})
    assert found.counts["object_add_s_auc"] == found.counts["object_mce_mm"] == SIZE
    assert "object_add_mm" not in measure(batch, hand_model).figures


def test_known_contact_errors_come_out(batch, hand_model):
    touching = batch["contact_type"] > 0

    def change(output):
        output.contact_confidence_logits[:] = 2.0
        output.contact_map_logits[:, 389:] = -2.0
        output.contact_point[..., 0] += 0.007
        output.contact_force += 0.25
        output.contact_force_direction *= -1

    figures = measure(batch, hand_model, change).figures
    share = touching.float().mean().item()
    assert figures["contact_recall"] == 1
    assert figures["contact_precision"] == pytest.approx(share)
    assert figures["contact_f1"] == pytest.approx(2 * share / (1 + share))
    seen = batch["contact_map"][:, :389].sum() / batch["contact_map"].sum()
    assert figures["contact_vertex_precision"] == 1
    assert figures["contact_vertex_recall"] == pytest.approx(seen.item())
    assert figures["contact_point_mm"] == pytest.approx(7, abs=1e-3)
    assert figures["contact_force_n"] == pytest.approx(0.25, abs=1e-5)
    assert figures["contact_direction_deg"] == pytest.approx(180, abs=0.1)


def test_penetration_is_of_the_predicted_hand_into_the_predicted_object(batch, hand_model):
    far = torch.tensor((0.0, 0.0, 1.0))
    turn = matrix_from_rotvec(torch.tensor((0.4, -1.0, 2.0)))

    def hand_away(output):
        output.vertices += far

    def both_away(output):
        output.vertices = output.vertices @ turn.T + far
        output.object_position = output.object_position @ turn.T + far
        output.object_rotation = turn @ output.object_rotation

    assert measure(batch, hand_model, hand_away).figures["penetration_max_mm"] == 0
    together = measure(batch, hand_model, both_away).figures
    assert together["penetration_max_mm"] == pytest.approx(
        together["penetration_labels_max_mm"], abs=1e-2
    )
    # The object is a sphere of 3 cm, so that depths are known: about the radius less the distance.
    centre = batch["object_position"][:, 0].numpy()
    vertices = truthful(batch, hand_model).vertices.numpy()
    depth = 30 - 1e3 * np.linalg.norm(vertices - centre[:, None], axis=-1)
    expected = np.maximum(depth, 0).max(1).mean()
    assert together["penetration_labels_max_mm"] == pytest.approx(expected, abs=3)


def test_what_is_not_labelled_is_absent_and_does_not_count(batch, hand_model):
    unlabelled = {name: value.clone() for name, value in batch.items()}
    for name in unlabelled:
        if name.endswith("_valid"):
            unlabelled[name][:] = False
    for name in ("joints", "keypoints_px"):
        unlabelled[name][:] = float("nan")

    def broken_labels(output):
        output.joints = torch.full_like(output.joints, 0.1)
        output.coarse_joints, output.refinements = output.joints, [output.joints]
        output.keypoints_px = torch.zeros(len(output.joints), 21, 2)

    nothing = measure(unlabelled, hand_model, broken_labels)
    assert nothing.figures == {} and nothing.pictures == {}

    class Both(Oracle):
        def forward(self, image, camera, side=None):
            output = super().forward(image, camera, side)
            if len(self.sides) == 2:
                broken_labels(output)
            return output

    batches = [batch, unlabelled]
    mixed = evaluate(Both(batches, hand_model), batches, hand_model, PROTOCOL)
    alone = measure(batch, hand_model)
    assert mixed.figures == pytest.approx(alone.figures, abs=1e-9)
    assert mixed.protocol.samples == 2 * SIZE
    assert mixed.counts == alone.counts


def test_single_missing_joints_do_not_count(batch, hand_model):
    batch["joints_valid"][:, Keypoint.RING_TIP] = False
    batch["joints_valid"][0, Keypoint.WRIST] = False
    # A similarity brings two joints onto any two.
    batch["joints_valid"][1, Keypoint.THUMB_MCP :] = False

    def change(output):
        output.joints[:, Keypoint.RING_TIP] += 1.0

    found = measure(batch, hand_model, change)
    assert found.figures["mpjpe_root_mm"] == pytest.approx(0, abs=1e-3)
    assert found.figures["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-3)
    assert found.counts["mpjpe_root_mm"] == SIZE - 1
    assert found.counts["pa_mpjpe_mm"] == SIZE - 1
    assert np.isnan(found.per_joint["PA"][Keypoint.RING_TIP])


def test_acceleration_uses_time_order_and_leaves_gaps_out(batch, hand_model):
    # Two sequences of six, mixed; the second has a gap after its third frame.
    ids = np.array([0, 1] * (SIZE // 2))
    frames = np.repeat(np.arange(SIZE // 2), 2)
    order = np.random.default_rng(1).permutation(SIZE)
    ids, frames = ids[order], frames[order]
    times = np.where((ids == 1) & (frames >= 3), frames + 5, frames) / 30.0

    def change(output):
        # ½ a t² with 2 mm/frame² at each joint but the wrist.
        output.joints[:, 1:, 0] += 1e-3 * torch.tensor(frames[:, None] ** 2)

    sequences = Sequences(sequence_ids=ids, frame_times=times)
    found = measure(batch, hand_model, change, sequences=sequences)
    assert found.figures["accel_error_mm_frame2"] == pytest.approx(2 * 20 / 21, abs=1e-3)
    assert found.figures["accel_error_m_s2"] == pytest.approx(2e-3 * 900 * 20 / 21, abs=1e-3)
    # Four of six frames in the first; one before and one after the gap in the second.
    assert found.counts["accel_error_mm_frame2"] == 21 * (4 + 1 + 1)
    assert "accel_error_m_s2" not in measure(batch, hand_model).figures


def test_the_side_is_told_only_where_the_protocol_says_so(batch, hand_model):
    batch["side_valid"][2] = False
    model = Oracle([batch], hand_model)
    told = Protocol(dataset="d", split="s", side_given=True)
    found = evaluate(model, [batch], hand_model, told)
    expected = batch["side"].clone()
    expected[2] = -1
    assert torch.equal(model.sides[0], expected)
    assert "side_accuracy" not in found.figures
    assert "told to the model" in found.table()
    silent = Oracle([batch], hand_model)
    evaluate(silent, [batch], hand_model, PROTOCOL)
    assert silent.sides == [None]


def test_training_mode_is_given_back_part_by_part(batch, hand_model):
    model = Oracle([batch], hand_model)
    model.frozen = nn.Dropout().eval()
    model.train()
    model.frozen.eval()
    evaluate(model, [batch], hand_model, PROTOCOL)
    assert model.modes == [(False, False)]
    assert model.training and not model.frozen.training


def test_the_table_names_the_protocol_and_every_figure(batch, hand_model, capsys, tmp_path):
    found = measure(batch, hand_model)
    found.pictures = {}
    found.write(tmp_path, {"device": "cpu"})
    assert json.loads((tmp_path / "metrics.json").read_text())["device"] == "cpu"
    text = (tmp_path / "table.txt").read_text()
    assert capsys.readouterr().out == text
    for part in (
        "made up, split test, 12 samples",
        "ground truth keypoints, 1.2 x",
        "wrist",
        "not told",
        "python -m pytest",
        *found.figures,
    ):
        assert part in text
    assert len({len(line) - len(line.lstrip()) for line in text.splitlines()}) < 4


def test_what_is_written_can_be_read_again(batch, hand_model, tmp_path, points):
    def change(output):
        noise = torch.randn(output.joints.shape, generator=torch.Generator().manual_seed(1))
        output.joints += 0.01 * noise

    found = measure(batch, hand_model, change, object_points=points)
    paths = found.write(tmp_path / "new" / "folder")
    names = {path.name for path in paths}
    assert names == {
        "table.txt",
        "metrics.json",
        "errors.npz",
        "joints.png",
        "pck.png",
        "histogram.png",
        "sheet.png",
    }
    held = json.loads((tmp_path / "new" / "folder" / "metrics.json").read_text())
    assert held["command"] == "python -m pytest"
    assert held["protocol"]["root"] == "WRIST" and held["protocol"]["samples"] == SIZE
    for id_, value in found.figures.items():
        assert held[id_] == pytest.approx(value, rel=1e-5, abs=1e-12)
    assert len(held["per_joint"]["PA"]) == 21
    errors = np.load(tmp_path / "new" / "folder" / "errors.npz")
    np.testing.assert_array_equal(errors["pa_mpjpe_mm"], found.per_sample["pa_mpjpe_mm"])
    again = measure(batch, hand_model, change, object_points=points)
    again.write(tmp_path / "again")
    for path in paths:
        if path.suffix != ".npz":
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_the_gallery_holds_the_best_the_median_and_the_worst(hand_model):
    batches = [labelled_batch(20, hand_model, seed) for seed in range(3)]
    scale = np.random.default_rng(4).permutation(60).reshape(3, 20)
    calls = iter(range(3))

    def change(output):
        # Flat hands, the flatter the worse.
        by = torch.tensor(scale[next(calls)] / 100, dtype=torch.float32)[:, None]
        output.joints[..., 1] += by * output.joints[..., 0]
        output.joints[..., 0] *= 1 - by

    found = measure(batches, hand_model, change, pictures=3)
    errors = np.sort(found.per_sample["pa_mpjpe_mm"])
    shown = {kind: [p.pa_mm for p in row] for kind, row in found.pictures.items()}
    np.testing.assert_allclose(shown["best"], errors[:3])
    np.testing.assert_allclose(shown["worst"], errors[::-1][:3])
    away = np.sort(abs(errors - np.median(errors)))
    np.testing.assert_allclose(np.sort(abs(shown["median"] - np.median(errors))), away[:3])
    best = found.pictures["best"][0]
    assert best.image.shape == (224, 224, 3)
    index = int(found.per_sample["pa_mpjpe_mm"].argmin())
    seen = batches[index // 20]
    np.testing.assert_allclose(best.true, seen["keypoints_px"][index % 20], atol=1e-3)
    np.testing.assert_array_equal(best.image.transpose(2, 0, 1), seen["image"][index % 20])
    assert len(best.true_axes) == len(best.predicted_axes) == 2
    assert measure(batches[:1], hand_model, pictures=0).pictures == {}


def test_the_gallery_stays_small(hand_model, monkeypatch):
    from manip_training import eval_gallery

    monkeypatch.setattr(eval_gallery, "MEDIAN_POOL", 8)
    batches = [labelled_batch(20, hand_model, seed) for seed in range(2)]
    gallery = measure(batches, hand_model, pictures=2)
    assert {kind: len(row) for kind, row in gallery.pictures.items()} == {
        "best": 2,
        "median": 2,
        "worst": 2,
    }


def test_bad_input_is_named(batch, hand_model):
    with pytest.raises(ValueError, match="there are no batches"):
        evaluate(Oracle([], hand_model), [], hand_model, PROTOCOL)
    with pytest.raises(ValueError, match="the batch lacks joints"):
        evaluate(
            Oracle([batch], hand_model),
            [{k: v for k, v in batch.items() if k != "joints"}],
            hand_model,
            PROTOCOL,
        )
    sequences = Sequences(sequence_ids=np.zeros(3), frame_times=np.zeros(3))
    with pytest.raises(ValueError, match=r"must be \(12,\) as the samples, got \(3,\)"):
        measure(batch, hand_model, sequences=sequences)
    still = Sequences(sequence_ids=np.zeros(SIZE), frame_times=np.zeros(SIZE))
    with pytest.raises(ValueError, match=r"frame_times of sequence 0.0 must differ"):
        measure(batch, hand_model, sequences=still)

    def broken(output):
        output.joints[:2, 0] = float("nan")

    with pytest.raises(ValueError, match=r"in 2 of 12 samples these are not: refinements.*joints"):
        measure(batch, hand_model, broken)
    with pytest.raises(ValueError, match="root must be a keypoint, 0 to 20, got 21"):
        Protocol(dataset="d", split="s", root=21)
    with pytest.raises(ValueError, match="0 or more, got -1"):
        measure(batch, hand_model, pictures=-1)


def test_without_a_hand_model_the_mesh_is_not_measured(batch, hand_model):
    found = evaluate(Oracle([batch], hand_model), [batch], None, PROTOCOL)
    assert "mpvpe_root_mm" not in found.figures
    assert "penetration_labels_max_mm" not in found.figures
    assert "mpjpe_root_mm" in found.figures and "penetration_max_mm" in found.figures


def test_units_and_values_are_told_as_people_write_them():
    units = {
        "pa_mpjpe_mm": "mm",
        "accel_error_mm_frame2": "mm/frame²",
        "accel_error_m_s2": "m/s²",
        "object_rotation_deg": "deg",
        "contact_force_n": "N",
        "pck_auc": "",
        "mpjpe_2d_px": "px",
        "spread_ratio": "",
        "object_precision": "",
    }
    assert {id_: eval_report.unit_of(id_) for id_ in units} == units
    told = {
        0.0: "0",
        12.3456: "12.35",
        0.98765: "0.9877",
        1234.5: "1234",
        1e-5: "1e-05",
        0.012345: "0.01235",
        3e7: "3e+07",
    }
    assert {value: eval_report.format_value(value) for value in told} == told


def test_every_finger_has_its_own_colour():
    colours = plots.keypoint_colours()
    assert len(colours) == 21 and len(set(colours)) == 6
    assert colours[Keypoint.THUMB_TIP] == colours[Keypoint.THUMB_CMC]
