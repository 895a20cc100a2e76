"""Hand, object and contact metrics, each against a second implementation and against laws."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate
from scipy.optimize import minimize_scalar
from scipy.spatial import cKDTree, procrustes
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from manip_core import metrics as m
from manip_core import object_metrics as om
from manip_core.hand_skeleton import Keypoint

TOLERANCE = 1e-5
WRIST = int(Keypoint.WRIST)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def hands(rng):
    """Predicted and true ``(12, 21, 3)`` in [m], and which joints are labelled."""
    true = rng.normal(size=(12, 21, 3)) * 0.05 + (0.0, 0.1, 0.6)
    valid = rng.random((12, 21)) < 0.8
    valid[:, WRIST] = True
    return true + 0.01 * rng.normal(size=true.shape), true, valid


def rotations(rng, *shape) -> np.ndarray:
    return Rotation.random(math.prod(shape), rng=rng).as_matrix().reshape(*shape, 3, 3)


def poses(rng, *shape) -> om.Pose:
    return om.Pose(rotations(rng, *shape), rng.normal(size=(*shape, 3)) * 0.1)


def loop_mpjpe(predicted, true, valid) -> list[float]:
    means = []
    for p, t, v in zip(predicted, true, valid, strict=True):
        errors = [math.dist(p[j], t[j]) * 1000 for j in range(len(p)) if v[j]]
        means.append(sum(errors) / len(errors))
    return means


def spoilt(true, valid) -> np.ndarray:
    """The labels with NaN wherever there is none."""
    return np.where(valid[..., None], true, np.nan)


def test_mpjpe_absolute_and_root_relative_match_plain_loops(hands):
    predicted, true, valid = hands
    found = m.mpjpe_mm(predicted, spoilt(true, valid), valid)
    np.testing.assert_allclose(found, loop_mpjpe(predicted, true, valid), atol=TOLERANCE)
    for root in (WRIST, int(Keypoint.MIDDLE_MCP)):
        there = valid.copy()
        there[:, root] = True
        p = [[joint - hand[root] for joint in hand] for hand in predicted]
        t = [[joint - hand[root] for joint in hand] for hand in true]
        found = m.mpjpe_mm(predicted, spoilt(true, there), there, root=root)
        np.testing.assert_allclose(found, loop_mpjpe(p, t, there), atol=TOLERANCE)
        everything = m.mpjpe_mm(predicted, true, root=root)
        np.testing.assert_allclose(
            everything, loop_mpjpe(p, t, np.ones_like(there)), atol=TOLERANCE
        )


def test_scale_aligned_error_matches_a_numeric_search(hands):
    predicted, true, valid = hands
    found = m.scale_mpjpe_mm(predicted, spoilt(true, valid), WRIST, valid)
    for i, error in enumerate(found):
        p = (predicted[i] - predicted[i, WRIST])[valid[i]]
        t = (true[i] - true[i, WRIST])[valid[i]]
        scale = minimize_scalar(lambda s, p=p, t=t: ((s * p - t) ** 2).sum(), tol=1e-12).x
        expected = 1e3 * np.mean([math.dist(scale * a, b) for a, b in zip(p, t, strict=True)])
        assert error == pytest.approx(expected, abs=TOLERANCE)


def test_scale_alignment_is_blind_to_scale_and_place_alone(hands, rng):
    _, true, _ = hands
    moved = 0.7 * true + rng.normal(size=(12, 1, 3))
    np.testing.assert_allclose(m.scale_mpjpe_mm(moved, true, WRIST), 0.0, atol=1e-9)
    turned = moved @ rotations(rng)
    assert m.scale_mpjpe_mm(turned, true, WRIST).min() > 5
    assert m.scale_mpjpe_mm(-true, true, WRIST).min() > 5, "a negative scale was allowed"


def test_pa_mpjpe_matches_align_vectors(hands):
    predicted, true, valid = hands
    found = m.pa_mpjpe_mm(predicted, spoilt(true, valid), valid)
    for i, error in enumerate(found):
        p, t = predicted[i][valid[i]], true[i][valid[i]]
        p0, t0 = p - p.mean(0), t - t.mean(0)
        turn, _ = Rotation.align_vectors(t0, p0)
        turned = turn.apply(p0)
        scale = np.vdot(turned, t0) / np.vdot(turned, turned)
        expected = 1e3 * np.mean([math.dist(a, b) for a, b in zip(scale * turned, t0, strict=True)])
        assert error == pytest.approx(expected, abs=TOLERANCE)


def test_pa_residual_matches_scipy_procrustes(hands):
    """scipy allows reflections, which do not occur between hands this alike."""
    predicted, true, _ = hands
    aligned = m.align_similarity(predicted, true)
    for p, t, a in zip(predicted, true, aligned, strict=True):
        spread = ((t - t.mean(0)) ** 2).sum()
        assert ((a - t) ** 2).sum() / spread == pytest.approx(procrustes(t, p)[2], abs=TOLERANCE)


def test_pa_is_unchanged_by_similarities_and_never_above_the_other_alignments(hands, rng):
    predicted, true, valid = hands
    error = m.pa_mpjpe_mm(predicted, true, valid)
    moved = 1.9 * predicted @ rotations(rng) + rng.normal(size=3)
    np.testing.assert_allclose(m.pa_mpjpe_mm(moved, true, valid), error, atol=1e-9)
    # Least squares, not least distances: the law holds for the sum of squares.
    squares = [
        (np.where(valid[..., None], points - true, 0) ** 2).sum((-1, -2))
        for points in (
            m.align_similarity(predicted, true, valid),
            m.align_scale(predicted, true, WRIST, valid),
            m.root_relative(predicted, WRIST) + true[:, :1],
        )
    ]
    assert (squares[0] <= squares[1] + 1e-12).all()
    assert (squares[1] <= squares[2] + 1e-12).all()


def test_what_has_no_label_is_nan_and_a_broken_prediction_is_infinitely_wrong(hands):
    predicted, true, valid = hands
    none = valid.copy()
    none[0] = False
    assert np.isnan(m.mpjpe_mm(predicted, true, none)[0])
    assert np.isfinite(m.mpjpe_mm(predicted, true, none)[1:]).all()
    rootless = valid.copy()
    rootless[2, WRIST] = False
    assert np.isnan(m.mpjpe_mm(predicted, true, rootless, root=WRIST)[2])
    assert np.isnan(m.scale_mpjpe_mm(predicted, true, WRIST, rootless)[2])
    two = np.zeros_like(valid)
    two[:, :2] = True
    assert np.isnan(m.pa_mpjpe_mm(predicted, true, two)).all()
    broken = predicted.copy()
    broken[3, WRIST] = np.nan
    assert m.mpjpe_mm(broken, true, valid)[3] == np.inf
    assert m.labelled_mean(np.array([np.nan, 1.0, 3.0])) == 2.0
    assert np.isnan(m.labelled_mean(np.full(3, np.nan)))


def test_pck_and_its_area_match_counting_and_scipy(hands, rng):
    errors = rng.gamma(2.0, 8.0, size=(40, 21))
    errors[rng.random(errors.shape) < 0.2] = np.nan
    curve = m.pck(errors, m.PCK_THRESHOLDS_MM)
    listed = [e for e in errors.ravel().tolist() if not math.isnan(e)]
    counted = [sum(e <= t for e in listed) / len(listed) for t in m.PCK_THRESHOLDS_MM]
    np.testing.assert_allclose(curve, counted, atol=TOLERANCE)
    by_scipy = integrate.trapezoid(counted, m.PCK_THRESHOLDS_MM) / 50.0
    assert m.area_under_curve(curve, m.PCK_THRESHOLDS_MM) == pytest.approx(by_scipy, abs=TOLERANCE)
    # Of ever finer steps the area is the mean of 1 - error/50, floored at 0.
    fine = np.linspace(0, 50, 20001)
    exact = np.mean([max(0.0, 1 - e / 50) for e in listed])
    assert m.area_under_curve(m.pck(errors, fine), fine) == pytest.approx(exact, abs=1e-4)


def test_pck_counts_misses_and_its_extremes():
    thresholds = m.PCK_THRESHOLDS_MM
    assert (m.pck(np.zeros(5), thresholds) == 1).all()
    assert m.area_under_curve(m.pck(np.zeros(5), thresholds), thresholds) == pytest.approx(1)
    assert m.pck(np.array([0.0, np.inf, np.nan]), thresholds)[-1] == 0.5
    assert np.isnan(m.pck(np.full(3, np.nan), thresholds)).all()
    with pytest.raises(ValueError, match=r"thresholds must rise, got 5\.0 to 5\.0"):
        m.area_under_curve(np.ones(2), np.array([5.0, 5.0]))


def test_box_relative_errors_match_plain_loops(rng):
    true = rng.uniform(20, 200, size=(6, 21, 2))
    predicted = true + rng.normal(size=true.shape) * 5
    valid = rng.random((6, 21)) < 0.7
    found = m.box_relative_errors(predicted, spoilt(true, valid), valid)
    for i, j in itertools.product(range(6), range(21)):
        if not valid[i, j]:
            assert np.isnan(found[i, j])
            continue
        xs = [true[i, k, 0] for k in range(21) if valid[i, k]]
        ys = [true[i, k, 1] for k in range(21) if valid[i, k]]
        size = max(max(xs) - min(xs), max(ys) - min(ys))
        assert found[i, j] == pytest.approx(
            math.dist(predicted[i, j], true[i, j]) / size, abs=TOLERANCE
        )
    np.testing.assert_allclose(
        m.box_relative_errors(3 * predicted, 3 * true, valid), found, equal_nan=True
    )
    assert np.isnan(m.box_relative_errors(predicted, true, np.zeros_like(valid))).all()


def test_acceleration_error_matches_plain_loops(rng):
    predicted, true = rng.normal(size=(2, 9, 21, 3)) * 0.01
    valid = rng.random((9, 21)) < 0.9
    found = m.acceleration_errors_mm(predicted, true, valid)
    for t, j in itertools.product(range(1, 8), range(21)):
        if not valid[t - 1 : t + 2, j].all():
            assert np.isnan(found[t - 1, j])
            continue
        a, b = (x[t - 1, j] - 2 * x[t, j] + x[t + 1, j] for x in (predicted, true))
        assert found[t - 1, j] == pytest.approx(1e3 * math.dist(a, b), abs=TOLERANCE)


def test_acceleration_error_is_blind_to_offset_and_drift_and_right_in_size(rng):
    true = rng.normal(size=(9, 21, 3)) * 0.01
    steps = np.arange(9.0)[:, None, None]
    drifting = true + 0.3 + 0.02 * steps
    np.testing.assert_allclose(m.acceleration_errors_mm(drifting, true), 0, atol=1e-9)
    # ½ a t² with a = 1 mm/frame² along one axis.
    falling = true + 0.5e-3 * steps**2 * (1, 0, 0)
    np.testing.assert_allclose(m.acceleration_errors_mm(falling, true), 1.0, atol=1e-9)
    with pytest.raises(ValueError, match=r"must be \(T, J, 3\), got \(2, 9, 21, 3\)"):
        m.acceleration_errors_mm(np.zeros((2, 9, 21, 3)), np.zeros((2, 9, 21, 3)))


def test_spread_ratio(rng):
    true = rng.normal(size=(200, 21, 3)) * 0.05
    half = true.mean(0) + 0.5 * (true - true.mean(0))
    valid = rng.random((200, 21)) < 0.8
    valid[:, WRIST] = True
    assert m.spread_ratio(half, true, WRIST) == pytest.approx(0.5)
    assert m.spread_ratio(np.broadcast_to(true[0], true.shape), true, WRIST) == pytest.approx(0)
    shifted = true + rng.normal(size=(200, 1, 3))
    assert m.spread_ratio(shifted, true, WRIST) == pytest.approx(1)
    predicted = rng.normal(size=true.shape)
    variances = [
        sum(
            np.var([x[i, j, k] - x[i, WRIST, k] for i in range(200) if valid[i, j]])
            for j in range(21)
            for k in range(3)
        )
        for x in (predicted, true)
    ]
    assert m.spread_ratio(predicted, spoilt(true, valid), WRIST, valid) == pytest.approx(
        math.sqrt(variances[0] / variances[1]), abs=TOLERANCE
    )
    assert np.isnan(m.spread_ratio(true[:1], true[:1], WRIST))


def test_object_position_and_rotation_errors_match_scipy(rng):
    predicted, true = poses(rng, 40), poses(rng, 40)
    found = om.rotation_errors_deg(predicted.rotation, true.rotation)
    relative = Rotation.from_matrix(predicted.rotation).inv() * Rotation.from_matrix(true.rotation)
    np.testing.assert_allclose(found, np.degrees(relative.magnitude()), atol=TOLERANCE)
    known = Rotation.from_rotvec([[0, 0, 1e-7], [0, math.pi, 0], [0.3, 0, 0]]).as_matrix()
    np.testing.assert_allclose(
        om.rotation_errors_deg(known, np.eye(3)), np.degrees([1e-7, math.pi, 0.3]), rtol=1e-6
    )
    np.testing.assert_allclose(
        om.position_errors_mm(predicted.position, true.position),
        [1e3 * math.dist(a, b) for a, b in zip(predicted.position, true.position, strict=True)],
        atol=TOLERANCE,
    )


def test_add_and_add_s_match_loops_and_a_search_tree(rng):
    points = rng.normal(size=(150, 3)) * 0.05
    predicted, true = poses(rng, 4, 2), poses(rng, 4, 2)
    add, add_s = om.add_mm(points, predicted, true), om.add_s_mm(points, predicted, true)
    assert add.shape == add_s.shape == (4, 2)
    for i, j in itertools.product(range(4), range(2)):
        p = Rotation.from_matrix(predicted.rotation[i, j]).apply(points) + predicted.position[i, j]
        t = Rotation.from_matrix(true.rotation[i, j]).apply(points) + true.position[i, j]
        expected = 1e3 * sum(math.dist(a, b) for a, b in zip(p, t, strict=True)) / len(points)
        assert add[i, j] == pytest.approx(expected, abs=TOLERANCE)
        assert add_s[i, j] == pytest.approx(1e3 * cKDTree(p).query(t)[0].mean(), abs=TOLERANCE)
    assert (add_s <= add + 1e-9).all()


def test_add_s_is_blind_to_symmetry_and_add_is_not(rng):
    quarters = Rotation.from_rotvec([(0, 0, k * math.pi / 2) for k in range(4)])
    wedge = rng.normal(size=(30, 3)) * 0.05
    points = np.concatenate([quarter.apply(wedge) for quarter in quarters])
    true = poses(rng)
    turned = om.Pose(true.rotation @ quarters[1].as_matrix(), true.position)
    assert om.add_s_mm(points, turned, true) == pytest.approx(0, abs=1e-9)
    assert om.add_mm(points, turned, true) > 20
    assert om.add_s_mm(points, true, true) == pytest.approx(0, abs=1e-9)


def test_object_errors_do_not_depend_on_the_camera(rng):
    points = rng.normal(size=(80, 3)) * 0.05
    predicted, true = poses(rng, 5), poses(rng, 5)
    turn, shift = rotations(rng), rng.normal(size=3)
    moved = [om.Pose(turn @ p.rotation, p.position @ turn.T + shift) for p in (predicted, true)]
    for metric in (om.add_mm, om.add_s_mm, om.mean_corner_error_mm):
        np.testing.assert_allclose(metric(points, *moved), metric(points, predicted, true))


def test_mean_corner_error_matches_loops(rng):
    points = rng.normal(size=(50, 3)) * (0.05, 0.02, 0.1)
    predicted, true = poses(rng), poses(rng)
    distances = []
    for ends in itertools.product((min, max), repeat=3):
        corner = np.array([end(points[:, axis]) for axis, end in enumerate(ends)])
        p, t = (pose.rotation @ corner + pose.position for pose in (predicted, true))
        distances.append(1e3 * math.dist(p, t))
    found = om.mean_corner_error_mm(points, predicted, true)
    assert found == pytest.approx(sum(distances) / 8, abs=TOLERANCE)
    shifted = om.Pose(true.rotation, true.position + np.array((0.003, 0, 0.004)))
    assert om.mean_corner_error_mm(points, shifted, true) == pytest.approx(5.0)


def test_match_objects_takes_the_most_confident_query_of_the_class():
    query_class = np.array([[4, 4, 7, 4, 2]])
    confidence = np.array([[0.6, 0.9, 0.8, 0.7, 0.3]])
    true_class = np.array([[7, 4, 4, 2, 5, -1]])
    match = om.match_objects(query_class, confidence, true_class)
    # 2 is too unsure, 5 was never said, -1 is an empty slot.
    np.testing.assert_array_equal(match, [[2, 1, 3, -1, -1, -1]])
    assert om.match_objects(query_class, confidence, true_class, threshold=0.2)[0, 3] == 4
    # Slots and samples do not disturb one another.
    twice = om.match_objects(
        np.repeat(query_class, 2, 0),
        np.stack([confidence[0], np.zeros(5)]),
        np.repeat(true_class, 2, 0),
    )
    np.testing.assert_array_equal(twice, [match[0], [-1] * 6])


def test_contact_counts_and_figures_match_plain_loops(rng):
    predicted, true, valid = rng.random((3, 30, 10)) < ((0.4,),)
    counts = om.detection_counts(predicted, true, valid)
    tally = [[0, 0, 0] for _ in range(30)]
    for i, j in itertools.product(range(30), range(10)):
        if valid[i, j] and (predicted[i, j] or true[i, j]):
            tally[i][0 if predicted[i, j] and true[i, j] else 1 if predicted[i, j] else 2] += 1
    np.testing.assert_array_equal(counts, tally)
    hit, false, missed = map(sum, zip(*tally, strict=True))
    precision, recall = hit / (hit + false), hit / (hit + missed)
    expected = precision, recall, 2 * precision * recall / (precision + recall)
    found = om.precision_recall_f1(counts.sum(0))
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    np.testing.assert_array_equal(om.precision_recall_f1([0, 0, 0]), [np.nan] * 3)
    np.testing.assert_array_equal(om.precision_recall_f1([0, 2, 0]), [0, np.nan, 0])


BOX = np.array((0.08, 0.105, 0.03))


def box_surface(rng, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and outward normals of a box of half size ``BOX``, spread evenly."""
    areas = np.array([BOX[1] * BOX[2], BOX[0] * BOX[2], BOX[0] * BOX[1]])
    axis = rng.choice(3, size=count, p=areas / areas.sum())
    sign = rng.choice((-1.0, 1.0), size=count)
    points = rng.uniform(-1, 1, size=(count, 3)) * BOX
    normals = np.eye(3)[axis] * sign[:, None]
    points[np.arange(count), axis] = sign * BOX[axis]
    return points, normals


def test_penetration_of_a_box_matches_its_exact_depth(rng):
    surface, normals = box_surface(rng, 1500)
    vertices = rng.uniform(-1.3, 1.3, size=(500, 3)) * BOX
    found = om.penetration_mm(vertices, surface, normals)
    exact = [max(0.0, 1e3 * min(BOX - abs(v))) for v in vertices]
    errors = abs(found - exact)
    assert np.mean(errors) < 0.2
    assert np.quantile(errors, 0.99) < 2.0
    turn, shift = rotations(rng), rng.normal(size=3)
    moved = om.penetration_mm(vertices @ turn.T + shift, surface @ turn.T + shift, normals @ turn.T)
    np.testing.assert_allclose(moved, found, atol=1e-6)


def test_penetration_by_one_neighbour_matches_a_plain_search_and_takes_batches(rng):
    surface, normals = map(np.stack, zip(*(box_surface(rng, 64) for _ in range(3)), strict=True))
    vertices = rng.uniform(-1.2, 1.2, size=(3, 40, 3)) * BOX
    for neighbours in (1, 5):
        found = om.penetration_mm(vertices, surface, normals, neighbours)
        for b in range(3):
            order = np.argsort(cdist(vertices[b], surface[b]), axis=1)[:, :neighbours]
            for v, near in enumerate(order):
                depths = [np.dot(surface[b, k] - vertices[b, v], normals[b, k]) for k in near]
                assert found[b, v] == pytest.approx(1e3 * max(0.0, min(depths)), abs=TOLERANCE)


def test_bad_input_is_named(rng):
    for call, message in (
        (lambda: m.mpjpe_mm(np.zeros((21, 2)), np.zeros((21, 3))), r"got \(\(21, 2\), \(21, 3\)\)"),
        (lambda: m.pa_mpjpe_mm(np.zeros((20, 3)), np.zeros((21, 3))), r"as many joints, got"),
        (lambda: m.box_relative_errors(np.zeros((21, 3)), np.zeros((21, 3))), r"\(…, J, 2\), got"),
        (lambda: om.box_corners(np.zeros((8, 2))), r"\(P, 3\), got \(8, 2\)"),
        (lambda: om.add_s_mm(np.zeros((0, 3)), poses(rng), poses(rng)), r"got \(0, 3\)"),
        (
            lambda: om.penetration_mm(np.zeros((5, 3)), np.zeros((9, 3)), np.zeros((8, 3))),
            r"a normal for each point: got \(9, 3\) and \(8, 3\)",
        ),
        (
            lambda: om.penetration_mm(np.zeros((5, 3)), np.zeros((4, 3)), np.zeros((4, 3))),
            "neighbours must be 1 to 4, got 6",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
