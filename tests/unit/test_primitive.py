"""Objects as primitives: what they check, what MuJoCo makes of them, and what messages say."""

import mujoco
import numpy as np
import pytest

from manip_core.primitive import BOX, CAPSULE, CUP, CYLINDER, KINDS, LEAST, MOST, Primitive


def compiled(primitive: Primitive, **same) -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    primitive.add_to(spec, "object", **same)
    return spec.compile()


@pytest.mark.parametrize("kind", KINDS)
def test_it_weighs_what_it_is_given_and_fills_its_size(kind):
    size = (0.04, 0.04, 0.12)
    model = compiled(Primitive(kind, size), mass=0.3)
    body = model.body("object")
    assert body.mass[0] == pytest.approx(0.3)
    reach = np.zeros(3)
    for geom in range(body.geomadr[0], body.geomadr[0] + body.geomnum[0]):
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
        own = np.abs(rotation.reshape(3, 3)) @ model.geom_aabb[geom, 3:]
        reach = np.maximum(reach, np.abs(model.geom_pos[geom]) + own)
    np.testing.assert_allclose(reach, np.array(size) / 2, atol=1e-3)


@pytest.mark.parametrize("along", range(3))
def test_a_capsule_lies_along_its_longest_side(along):
    size = np.full(3, 0.03)
    size[along] = 0.1
    model = compiled(Primitive(CAPSULE, tuple(size)))
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, model.geom_quat[0])
    assert abs(rotation.reshape(3, 3)[along, 2]) == pytest.approx(1.0)


def test_a_cup_is_hollow_and_open_at_the_top():
    model = compiled(Primitive(CUP, (0.08, 0.08, 0.1)))
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    down = mujoco.mj_ray(model, data, [0, 0, 0.5], [0, 0, -1.0], None, 1, -1, np.zeros(1, np.int32))
    # From above the first thing is the bottom, not a lid.
    assert down == pytest.approx(0.5 + 0.05 - 0.004, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("ball", (1, 1, 1)),
        (BOX, (0.1, 0.0, 0.1)),
        (CYLINDER, (0.1, np.nan, 0.1)),
        (BOX, (0.1, 0.1)),
        (BOX, (1e-6, 0.1, 0.1)),
        (CAPSULE, (0.1, 0.1, 1e4)),
        (CUP, (0.1, 0.01, 0.1)),
        (CUP, (0.1, 0.1, 0.003)),
    ],
)
def test_what_is_no_primitive_is_refused(kind, size):
    with pytest.raises(ValueError, match="must be"):
        Primitive(kind, size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [LEAST, 0.0125, MOST])
def test_whatever_is_a_primitive_can_be_simulated(kind, side):
    if kind != CUP or side > LEAST:
        assert compiled(Primitive(kind, (side, side, side))).nbody == 2
