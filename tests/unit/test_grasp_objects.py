"""The grasp benchmark's objects: what is simulated has the published mass and size."""

import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from grasp_objects import BOX, CAPSULE, OBJECTS, Shape

from manip_core.rotation import exponential


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_weighs_what_it_should_and_stands_where_it_is_put(name):
    shape = OBJECTS[name]
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 0.1])
    shape.add_to(spec, "object")
    model = spec.compile()
    body = model.body("object")
    assert body.mass[0] == pytest.approx(shape.mass)
    data = mujoco.MjData(model)
    data.qpos[2] = shape.height(np.eye(3))
    mujoco.mj_step(model, data, 150)
    assert data.qpos[2] == pytest.approx(shape.height(np.eye(3)), abs=2e-3)
    assert data.xmat[body.id][8] > 0.999
    # What MuJoCo collides fills the published box.
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for geom in range(body.geomadr[0], body.geomadr[0] + body.geomnum[0]):
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
        reach = np.abs(rotation.reshape(3, 3)) @ model.geom_aabb[geom, 3:]
        low = np.minimum(low, model.geom_pos[geom] - reach)
        high = np.maximum(high, model.geom_pos[geom] + reach)
    np.testing.assert_allclose(high - low, shape.size, atol=2e-3)


@pytest.mark.parametrize("kind", sorted({shape.kind for shape in OBJECTS.values()}))
def test_the_distance_is_that_of_the_surface(kind):
    size = (0.19, 0.036, 0.036) if kind == CAPSULE else (0.08, 0.08, 0.12)
    shape = Shape(kind, size, 0.1)
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.2, 0.2, (300, 3))
    step = 1e-6 * np.eye(3)
    distance = shape.distance(points)
    slope = np.stack(
        [(shape.distance(points + h) - shape.distance(points - h)) / 2e-6 for h in step], axis=-1
    )
    # A distance grows by one a metre, along the way from the nearest point of the surface.
    np.testing.assert_allclose(np.linalg.norm(slope, axis=-1), 1.0, atol=1e-3)
    on_it = points - distance[:, None] * slope
    assert np.abs(shape.distance(on_it)[distance > 0]).max() < 1e-4
    assert shape.distance(np.zeros(3)) == pytest.approx(-min(shape.half))


@pytest.mark.parametrize("name", ["004_sugar_box", "005_tomato_soup_can", "011_banana"])
def test_a_turned_object_reaches_as_low_as_its_height_says(name):
    shape = OBJECTS[name]
    rng = np.random.default_rng(1)
    for _ in range(5):
        rotation = exponential(rng.normal(size=3))
        low = rng.uniform(-1, 1, (200_000, 3)) * shape.half
        inside = low[shape.distance(low) <= 0]
        deepest = -(inside @ rotation.T)[:, 2].min()
        assert deepest <= shape.height(rotation) + 1e-9
        assert deepest == pytest.approx(shape.height(rotation), rel=0.1)
    assert shape.kind in (BOX, CAPSULE) or shape.turns
