"""Laws of the pictures that the rasteriser draws."""

import pytest
import torch
from torch import Tensor

from manip_training.synthetic.rasteriser import Rasteriser
from manip_training.synthetic.render_input import LENS, Rendered, RenderInput
from render_fixtures import FOCAL, box, hand, scene_of, sphere, table_scene, wall

SIZE = 64


@pytest.fixture(scope="module")
def rasteriser() -> Rasteriser:
    return Rasteriser(SIZE)


def rays(size: int = SIZE) -> Tensor:
    """``(S, S, 3)`` through the pixels' centres, with z = 1."""
    x = (torch.arange(size) - (size - 1) / 2) / (FOCAL * size)
    return torch.stack(
        (x.expand(size, size), x[:, None].expand(size, size), torch.ones(1, 1).expand(size, size)),
        dim=-1,
    )


def linear(image: Tensor) -> Tensor:
    """Light of 8 bit values of a display curve of 2.2."""
    return (image.double() / 255) ** 2.2


def same(one: Rendered, other: Rendered) -> bool:
    return all(torch.equal(value, vars(other)[name]) for name, value in vars(one).items())


def set_lens(scene: RenderInput, **values: float) -> None:
    for name, value in values.items():
        scene.lens[:, LENS.index(name)] = value


def test_a_walls_depth_is_where_the_rays_meet_it(rasteriser):
    out = rasteriser.render(scene_of(wall(-0.4, 0.4, -0.4, 0.4, 0.5, slope=0.7), size=SIZE))
    ray = rays()
    expected = 0.5 / (1 - 0.7 * ray[..., 0])
    assert (out.part == 1).all()
    assert (out.depth[0] - expected).abs().max() < 2e-6


def test_a_balls_depth_and_area_are_those_of_a_ball(rasteriser):
    centre, radius = 0.5, 0.1
    out = rasteriser.render(scene_of(sphere((0, 0, centre), radius, rings=96), size=SIZE))
    unit = rays() / rays().norm(dim=-1, keepdim=True)
    along = centre * unit[..., 2]
    inside = radius**2 - centre**2 + along**2
    hit = inside > 0.1 * radius**2  # away from the rim, where depth is steep
    expected = (along - inside.clamp(min=0).sqrt()) * unit[..., 2]
    # The mesh lies inside of the ball by radius * (1 - cos(pi / 192)) at most.
    assert (out.depth[0] - expected)[hit].abs().max() < 2e-4
    across = FOCAL * SIZE * radius / (centre**2 - radius**2) ** 0.5
    assert (out.part == 1).sum().item() == pytest.approx(torch.pi * across**2, rel=0.01)


def test_the_nearer_hides_the_farther_whatever_the_order(rasteriser):
    near, far = wall(-0.05, 0.05, -1, 1, 0.4), wall(-1, 1, -1, 1, 0.6)
    for things, number in (((near, far), 1), ((far, near), 2)):
        out = rasteriser.render(scene_of(*things, size=SIZE))
        inside = rays()[..., 0].abs() * 0.4 < 0.05
        assert torch.equal(out.part[0] == number, inside)
        assert (out.depth[0][inside] - 0.4).abs().max() < 1e-6


def test_walls_that_cross_are_seen_each_where_it_is_nearer(rasteriser):
    scene = scene_of(
        wall(-0.4, 0.4, -0.4, 0.4, 0.5, slope=1.0),
        wall(-0.4, 0.4, -0.4, 0.4, 0.5, slope=-1.0),
        size=SIZE,
    )
    assert torch.equal(rasteriser.render(scene).part[0] == 1, rays()[..., 0] < 0)


def test_backs_and_what_is_too_near_or_behind_are_not_drawn(rasteriser):
    turned = wall(-1, 1, -1, 1, 0.5)
    turned.faces = turned.faces.flip(1)
    for thing in (turned, wall(-1, 1, -1, 1, 0.019), wall(-1, 1, -1, 1, -0.5)):
        out = rasteriser.render(scene_of(thing, size=SIZE))
        assert not out.part.any() and not out.depth.any() and not out.image.any()


def test_edges_are_as_bright_as_they_are_covered():
    size, samples = 16, 4
    edge = 7.25 + 1e-4  # [px] right of pixel 7's centre by a quarter: three quarters are covered
    x = (edge - (size - 1) / 2) / (FOCAL * size)
    thing = wall(-1, x, -1, 1, 1.0)
    thing.colour = (1.0, 1.0, 1.0)
    row = linear(Rasteriser(size, samples).render(scene_of(thing, size=size)).image)[0, 0, 8]
    assert row[:7].min() > 0.999 and row[8:].max() < 0.001
    assert row[7].item() == pytest.approx(0.75, abs=0.01)


def test_a_surface_under_one_light_is_as_bright_as_it_is_slanted(rasteriser):
    scene = scene_of(wall(-0.4, 0.4, -0.4, 0.4, 0.5, slope=1.0), size=SIZE)
    scene.sky[:], scene.ground[:] = 0, 0
    scene.lights[:, 0] = torch.tensor([0.0, 0.0, -1.0, 0.9, 0.6, 0.3])
    light = linear(rasteriser.render(scene).image)[0]
    for channel, colour in enumerate((0.9, 0.6, 0.3)):
        # Ambient occlusion dims direct light a little towards the farther, near side.
        expected = 0.5 * colour * 0.5**0.5
        assert light[channel].max().item() == pytest.approx(expected, rel=0.02)


def test_a_ball_casts_its_shadow_where_the_light_says(rasteriser):
    ball = sphere((0.0, 0.0, 0.5), 0.03)
    scene = scene_of(wall(-1, 1, -1, 1, 0.6), ball, size=SIZE)
    scene.sky[:], scene.ground[:] = 0, 0
    direction = torch.tensor([0.0, -0.8, -0.6])
    scene.lights[:, 0] = torch.cat((direction, torch.ones(3)))
    image = rasteriser.render(scene).image[0, 0].float()
    # From the ball along the light to the wall at 0.6 m.
    at = torch.tensor([0.0, 0.0, 0.5]) - direction * (0.1 / 0.6)
    row, column = (FOCAL * SIZE * at[[1, 0]] / 0.6 + (SIZE - 1) / 2).round().int().tolist()
    assert image[row, column] < 5
    assert image[row, 2] > 100 and image[2, column] > 100


def test_mirroring_flips_all_maps(rasteriser):
    scene = table_scene(SIZE, 3)
    scene.mirror[:] = False
    plain = rasteriser.render(scene)
    scene.mirror[:] = True
    flipped = rasteriser.render(scene)
    for name in ("image", "depth", "part"):
        assert torch.equal(getattr(plain, name).flip(-1), getattr(flipped, name)), name


def test_a_batch_is_its_images_one_by_one_and_threads_do_not_matter(rasteriser):
    scene = table_scene(SIZE, 5)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together = rasteriser.render(scene)
    finally:
        torch.set_num_threads(before)
    for k in range(5):
        alone = Rasteriser(SIZE).render(scene[[k]])
        for name in ("image", "depth", "part"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[k]), (k, name)


def test_the_seed_makes_the_picture(rasteriser):
    scene = table_scene(SIZE, 2)
    first = rasteriser.render(scene)
    assert same(first, rasteriser.render(scene))
    scene.seed += 1
    other = rasteriser.render(scene)
    assert not torch.equal(first.image, other.image)
    assert torch.equal(first.depth, other.depth)


def test_what_was_drawn_before_leaves_nothing(rasteriser):
    scene = table_scene(SIZE, 2)
    fresh = Rasteriser(SIZE).render(scene)
    rasteriser.render(scene_of(wall(-1, 1, -1, 1, 0.1), size=SIZE, images=3))
    assert same(rasteriser.render(scene), fresh)


def test_what_is_not_a_number_leaves_the_rest_as_it_is(rasteriser):
    scene = table_scene(SIZE, 2)
    ball = slice(778, 778 + len(sphere((0, 0, 1), 1).vertices))
    scene.vertices[:, ball, 2] = -1.0
    expected = rasteriser.render(scene)
    for odd in (float("nan"), float("inf"), -float("inf"), 1e30):
        scene.vertices[:, ball] = odd
        assert same(rasteriser.render(scene), expected), odd


def test_one_odd_vertex_takes_only_its_triangles_away(rasteriser):
    scene = scene_of(hand(0.4), size=SIZE)
    whole = rasteriser.render(scene)
    scene.vertices[0, 300] = float("nan")
    torn = rasteriser.render(scene)
    changed = (torn.part != whole.part).sum() / (whole.part > 0).sum()
    assert changed < 0.02
    differs = (torn.image != whole.image).any(dim=1)
    assert differs.float().mean() < 0.05


def test_garbage_does_no_harm(rasteriser):
    draw = torch.Generator().manual_seed(0)
    scene = table_scene(SIZE, 6)
    for value in vars(scene).values():
        if value.dtype == torch.float32:
            exponent = 20 * torch.randn(value.shape, generator=draw)
            value.mul_(
                torch.where(torch.rand(value.shape, generator=draw) < 0.2, exponent.exp(), 1.0)
            )
            value.masked_fill_(torch.rand(value.shape, generator=draw) < 0.02, float("nan"))
    scene.background += 1000
    out = rasteriser.render(scene)
    assert out.depth.isfinite().all() and (out.depth >= 0).all()
    assert out.part.max() <= 3


def test_noise_is_as_strong_as_asked(rasteriser):
    scene = scene_of(wall(-1, 1, -1, 1, 0.5), size=SIZE)
    clean = rasteriser.render(scene).image.double()
    set_lens(scene, noise=0.04)
    noise = (rasteriser.render(scene).image.double() - clean) / 255
    # Of 12288 values: the deviation is known to 0.7 %, the mean to 0.0004.
    assert noise.std().item() == pytest.approx(0.04, rel=0.03)
    assert abs(noise.mean().item()) < 0.0015
    flat = noise[0].flatten(1)
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.06
    assert torch.corrcoef(torch.stack((flat[0, 1:], flat[0, :-1])))[0, 1].abs() < 0.06


def spread_of_an_edge(**lens: float) -> tuple[float, float]:
    """Mean and deviation [px] of the slope of a white half picture's edge."""
    thing = wall(-1, 0, -1, 1, 1.0)
    thing.colour = (1.0, 1.0, 1.0)
    scene = scene_of(thing, size=SIZE)
    set_lens(scene, **lens)
    row = linear(Rasteriser(SIZE).render(scene).image)[0, 0, SIZE // 2]
    slope = row[:-1] - row[1:]
    at = torch.arange(SIZE - 1) + 0.5
    mean = (slope * at).sum() / slope.sum()
    return mean.item(), ((slope * (at - mean) ** 2).sum() / slope.sum()).sqrt().item()


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.0])
def test_defocus_spreads_as_asked_and_moves_nothing(sigma):
    mean, spread = spread_of_an_edge(blur=sigma)
    assert mean == pytest.approx((SIZE - 1) / 2, abs=0.02)
    assert spread == pytest.approx(sigma, rel=0.06)


def test_motion_spreads_evenly_over_its_length():
    mean, spread = spread_of_an_edge(motion_x=6.0)
    assert mean == pytest.approx((SIZE - 1) / 2, abs=0.02)
    # Of an even distribution: length / sqrt(12); seven taps reach a little farther.
    assert spread == pytest.approx(6.0 / 12**0.5, rel=0.2)
    assert spread_of_an_edge(motion_y=6.0)[1] < 0.1


def test_the_background_lies_where_its_placement_says(rasteriser):
    scene = scene_of(wall(-1, 1, -1, 1, -1.0), size=SIZE)
    scene.backgrounds = torch.randint(0, 256, (1, 3, SIZE, SIZE), dtype=torch.uint8)
    # The picture as wide as the crop: pixel u lies between texels u - 1 and u.
    scene.placement[:] = torch.tensor([0.5 + 0.5 / SIZE, 0.5 + 0.5 / SIZE, 1.0, 0.0, 0.0])
    straight = rasteriser.render(scene).image[0]
    assert (straight.int() - scene.backgrounds[0].int()).abs().max() <= 1
    scene.placement[:, 3] = torch.pi / 2
    scene.placement[:, 0] -= 1 / SIZE
    quarter = rasteriser.render(scene).image[0]
    assert (quarter.int() - straight.rot90(1, (1, 2)).int()).abs().float().mean() < 2
    scene.placement[:] = torch.tensor([1.5 + 0.5 / SIZE, 0.5 + 0.5 / SIZE, 1.0, 0.0, 0.0])
    beyond = rasteriser.render(scene).image[0]
    assert (beyond.int() - straight.flip(2).int()).abs().max() <= 1


def test_a_box_keeps_its_edges_sharp(rasteriser):
    scene = scene_of(box((0.0, 0.0, 0.5), (0.15, 0.15, 0.15)), size=SIZE)
    scene.sky[:], scene.ground[:] = 0, 0
    scene.lights[:, 0] = torch.tensor([0.48, -0.6, -0.64, 1.0, 1.0, 1.0])
    out = rasteriser.render(scene)
    inside = -torch.nn.functional.max_pool2d(-(out.part > 0).float(), 5, 1, 2) > 0
    values = out.image[0, 0][inside[0]]
    # Three faces, each of one brightness but for ambient occlusion and the edges between them.
    common = torch.bincount(values.long(), minlength=256).double()
    assert common.topk(12).values.sum() / common.sum() > 0.75


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("vertices", lambda v: v.double(), "vertices must be .*float32 on cpu, got .*float64"),
        ("lens", lambda v: v[:, :-1], "lens must be"),
        ("lights", lambda v: v[:, :2], "lights must be"),
        ("mirror", lambda v: v.int(), "mirror must be .*bool"),
        ("faces", lambda v: v.long(), "faces must be .*int32"),
        ("faces", lambda v: v + 10000, "faces must be 0 to"),
        ("face_part", lambda v: v - 1, "face_part must be 0 to 2, got -1 to 1"),
        ("backgrounds", lambda v: v[:0], "none empty"),
        ("seed", lambda v: v.to("meta"), "on meta"),
    ],
)
def test_what_does_not_fit_is_named(rasteriser, name, change, message):
    scene = table_scene(SIZE, 2)
    setattr(scene, name, change(getattr(scene, name)))
    with pytest.raises(ValueError, match=message):
        rasteriser.render(scene)


def test_faces_changed_in_place_are_seen(rasteriser):
    scene = scene_of(wall(-1, 1, -1, 1, 0.5), size=SIZE)
    assert rasteriser.render(scene).part.all()
    scene.faces[:] = scene.faces.flip(1)
    assert not rasteriser.render(scene).part.any()


def test_no_images_are_no_pictures(rasteriser):
    assert rasteriser.render(table_scene(SIZE, 2)[[]]).image.shape == (0, 3, SIZE, SIZE)
