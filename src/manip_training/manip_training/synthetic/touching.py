"""Hands that do not pass through themselves, and thumbs that touch what they are said to touch."""

import torch
from torch import Tensor

from manip_core.hand_skeleton import FINGERS
from manip_model.hand_model import HandModel
from manip_model.hand_regions import MESH_CHAINS, MESH_FINGERS
from manip_model.rotations import matrix_from_rotvec
from manip_training.synthetic.draw import about_axis
from manip_training.synthetic.poses import TOUCHES, PoseSpace

STEPS = 7
DAMPING = 2e-5  # [m²]
FARTHEST = 0.35  # [rad] in one step
# How readily each angle gives way: the thumb's five, then the finger's base and middle.
GIVE = (1.0, 1.0, 0.3, 0.5, 0.3, 0.6, 0.6)
# Points along each phalanx, as a share of its length, that stand for its flesh.
ALONG = (0.25, 0.75)
# How much nearer than the sum of their radii two phalanges may come: skin gives way.
SOFT = 0.88
# Worth of a millimetre's gap against a millimetre's overlap when candidates are compared.
GAP_WEIGHT = 4.0


class SelfContact:
    """Solves for touch and measures overlap, for many hands at once; constants on one device.

    Attributes:
        pad: Vertex in the middle of the thumb's pad.
        targets: ``(len(TOUCHES),)`` int64 vertex that it shall touch, of each row of ``TOUCHES``.
    """

    def __init__(self, model: HandModel, space: PoseSpace, device: torch.device | str):
        self._space = space
        template, rest = model.template.cpu(), model.joint_template.cpu()
        parts = model.weights.cpu().argmax(1)
        chains = {name: MESH_CHAINS[FINGERS.index(name)] for name in MESH_FINGERS}
        tips = {name: int(model.tips[FINGERS.index(name)]) for name in MESH_FINGERS}

        def skin(finger: str, level: int, towards: Tensor, share: float) -> int:
            """The vertex farthest ``towards`` a side, about ``share`` along a phalanx."""
            start = rest[chains[finger][level]]
            end = template[tips[finger]] if level == 2 else rest[chains[finger][level + 1]]
            offset = template - torch.lerp(start, end, share)
            along = (end - start) / (end - start).norm()
            aside = torch.linalg.cross(along, towards)
            score = offset @ towards - 0.6 * (offset @ along).abs() - 0.6 * (offset @ aside).abs()
            score[parts != int(chains[finger][level])] = -1.0
            return int(score.argmax())

        palmar = torch.tensor((0.0, -1.0, 0.0))
        thumb = space.thumb_axes.cpu()
        along, bend = -thumb[2], thumb[3]
        inward = torch.linalg.cross(bend, along)
        self.pad = skin("thumb", 2, inward, 0.6)
        targets, levels, fingers = [0], [0], [0]
        for name in TOUCHES[1:]:
            over = name.startswith("over_")
            finger = name.removeprefix("over_")
            level = 1 if over else 2
            targets.append(skin(finger, level, -palmar if over else palmar, 0.5 if over else 0.65))
            levels.append(level)
            fingers.append(MESH_FINGERS.index(finger))
        as_index = {"dtype": torch.int64, "device": device}
        self.targets = torch.tensor(targets, **as_index)
        # Row of the 15 joints, of the finger among the mesh's, and of its first angle.
        self._level = torch.tensor(levels, **as_index)
        self._finger = torch.tensor(fingers, **as_index)
        firsts = [4 * max(FINGERS.index(MESH_FINGERS[f]) - 1, 0) for f in fingers]
        self._angle = torch.tensor(firsts, **as_index)
        self._moves = torch.tensor(
            [[0.0] * 7, *[[*GIVE[:5], *(g * (not t.startswith("over_")) for g in GIVE[5:])]
                          for t in TOUCHES[1:]]], device=device
        )  # fmt: skip
        self._tip_vertices = torch.tensor([tips[f] for f in MESH_FINGERS], **as_index)
        self._three = torch.arange(3, device=device)
        self._damping = DAMPING * torch.eye(3, device=device)
        self._thumb_plane = torch.stack((along, inward, bend), -1).to(device)
        self._template = model.template.to(device)
        self._directions = model.shape_directions.to(device)
        self._joint_template = model.joint_template.to(device)
        self._joint_directions = model.joint_directions.to(device)
        self._thickness(template, rest, parts, device)

    def _thickness(self, template, rest, parts, device) -> None:
        """Radii of phalanges and palm, and how near each pair may come."""
        radii = torch.zeros(15)
        for joint in range(1, 16):
            finger = (joint - 1) // 3 * 3 + 1
            end = rest[joint + 1] if joint < finger + 2 else template[self._tip_vertices[
                (joint - 1) // 3].cpu()]  # fmt: skip
            along = (end - rest[joint]) / (end - rest[joint]).norm()
            offset = template[parts == joint] - rest[joint]
            across = offset - (offset @ along)[:, None] * along
            radii[joint - 1] = across.norm(dim=1).median()
        thumb_base = 12
        radii[thumb_base] = min(float(radii[thumb_base]), 0.014)
        palm = 0.011
        self._radius = torch.cat((radii.repeat_interleave(len(ALONG)), torch.full((8,), palm))).to(
            device
        )
        points = self._flesh(
            self._joint_template[None, 1:].unflatten(1, (5, 3)),
            self._template[None, self._tip_vertices],
            self._joint_template[None],
        )
        apart = distances(points)[0]
        allowed = SOFT * (self._radius[:, None] + self._radius)
        owner = torch.cat((torch.arange(5).repeat_interleave(3 * len(ALONG)), torch.full((8,), 5)))
        other = (owner[:, None] < owner).to(device)
        self._nearest = torch.where(other, torch.minimum(allowed, 0.97 * apart), torch.tensor(
            0.0, device=device))  # fmt: skip

    def rest(self, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Joints ``(B, 16, 3)`` and vertices ``(B, n, 3)`` at rest of shapes ``(B, 10)``.

        The vertices are the tips, the thumb's pad, then what it may touch.
        """
        joints = self._joint_template + torch.einsum("jkc,bc->bjk", self._joint_directions, shape)
        rows = torch.cat((self._tip_vertices, self.targets.new_full((1,), self.pad),
                          self.targets))  # fmt: skip
        vertices = self._template[rows] + torch.einsum("vkc,bc->bvk", self._directions[rows], shape)
        return joints, vertices

    def touch(self, angles: Tensor, touch: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Angles ``(B, K, 21)`` whose thumb touches, and the gaps ``(B, K)`` [m] that are left.

        Damped least squares on the distance of two points of the skin; what shall touch nothing
        stays as it is, with no gap.

        Args:
            angles: ``(B, K, 21)`` to start from.
            touch: ``(B,)`` rows of ``TOUCHES``.
            shape: ``(B, 10)`` of the hands.
        """
        rows = torch.arange(len(shape), device=shape.device)
        heads, points = self.rest(shape)
        heads = heads[:, 1:].unflatten(1, (5, 3))
        finger, first = self._finger[touch], self._angle[touch]
        # Both bend in a plane: the finger in its own, the thumb's outer joints in another.
        frames = self._space.frames[first // 4]
        own, target = heads[rows, finger], points[rows, 6 + touch]
        outer = (self._level[touch] == 2)[:, None]
        bones = torch.stack(
            (
                own[:, 1] - own[:, 0],
                torch.where(outer, own[:, 2], target) - own[:, 1],
                torch.where(outer, target - own[:, 2], 0.0),
            ),
            1,
        )
        bones = (bones @ frames)[:, None]
        plane = self._thumb_plane
        thumb = heads[:, -1]
        ends = torch.cat((thumb[:, 1:], points[:, 5:6]), 1)
        thumb_bones = ((ends - thumb) @ plane)[:, None]
        columns = first[:, None, None] + self._three
        columns = columns.expand(-1, angles.shape[1], -1)
        bent = angles.gather(-1, columns)
        spread = angles.gather(-1, columns[..., :1] + 3)[..., 0]
        turn = about_axis(1, spread) @ frames[:, None]  # (B, K, 3, 3)
        moves, asked = self._moves[touch][:, None], (touch > 0)[:, None, None]
        axes = self._space.thumb_axes
        thumbs = angles[..., 16:]
        low, high = self._space.low, self._space.high
        base_most = high[columns[..., 0]][..., None]
        middle = (low[1:2].expand_as(base_most), high[1:2].expand_as(base_most))
        least = torch.cat((low[16:].expand_as(thumbs), low[:1].expand_as(base_most), middle[0]), -1)
        most = torch.cat((high[16:].expand_as(thumbs), base_most, middle[1]), -1)
        swings = axes[:2].expand(*thumbs.shape[:2], 2, 3)
        for step in range(STEPS + 1):
            swing = matrix_from_rotvec(thumbs[..., :1] * axes[0] + thumbs[..., 1:2] * axes[1])
            swing = swing @ matrix_from_rotvec(thumbs[..., 2:3] * axes[2]) @ plane
            bends = torch.nn.functional.pad(thumbs[..., 3:].cumsum(-1), (1, 0))
            pad, pad_slopes = _planar(bends, thumb_bones)
            reach, slopes = _planar(bent.cumsum(-1), bones)
            lever = (swing @ pad[..., None])[..., 0]
            there = (turn @ reach[..., None])[..., 0] + own[:, None, 0]
            gap = there - lever - thumb[:, None, 0]
            if step == STEPS:
                break
            jacobian = torch.cat(
                (
                    torch.linalg.cross(
                        torch.cat((swings, -swing[..., None, :, 0]), -2), lever[..., None, :]
                    ),
                    pad_slopes[..., 1:, :] @ swing.mT,
                    -slopes[..., :2, :] @ turn.mT,
                ),
                -2,
            )  # (B, K, 7, 3)
            # What is at its limit and would go beyond gives way no more.
            at = torch.cat((thumbs, bent[..., :2]), -1)
            pull = (jacobian @ gap[..., None])[..., 0]
            stuck = ((at >= most) & (pull > 0)) | ((at <= least) & (pull < 0))
            weighted = jacobian * (moves * ~stuck)[..., None]
            square = jacobian.mT @ weighted + self._damping
            change = (weighted @ solve3(square, gap)[..., None])[..., 0]
            change = change.clamp(-FARTHEST, FARTHEST) * asked
            at = torch.minimum(torch.maximum(at + change, least), most)
            thumbs, bent = at[..., :5], torch.cat((at[..., 5:], bent[..., 2:]), -1)
        fingers = angles[..., :16].scatter(-1, columns, bent)
        return torch.cat((fingers, thumbs), -1), gap.norm(dim=-1) * asked[..., 0]

    def overlap(self, angles: Tensor, shape: Tensor) -> Tensor:
        """``(B, K)`` [m] how far phalanges and palm lie within each other, summed over pairs."""
        joints, points = self.rest(shape)
        heads = joints[:, None, 1:].unflatten(2, (5, 3))
        turns, origins = chain(self._space.rotations(angles), heads)
        tips = (turns[..., 2, :, :] @ (points[:, None, :5] - heads[..., 2, :])[..., None])[..., 0]
        flesh = self._flesh(origins, tips + origins[..., 2, :], joints[:, None])
        deep = (self._nearest - distances(flesh)).clamp(min=0)
        return deep.flatten(-2).sum(-1)

    def _flesh(self, origins: Tensor, tips: Tensor, joints: Tensor) -> Tensor:
        """``(…, 38, 3)`` points along the phalanges, then eight in the palm.

        Args:
            origins: ``(…, 5, 3, 3)`` of the joints, finger by finger.
            tips: ``(…, 5, 3)``.
            joints: ``(…, 16, 3)`` at rest.
        """
        ends = torch.cat((origins[..., 1:, :], tips[..., None, :]), -2)
        along = torch.stack([torch.lerp(origins, ends, share) for share in ALONG], -2)
        wrist, knuckles = joints[..., :1, :], joints[..., 1:13:3, :]
        palm = torch.cat([torch.lerp(wrist, knuckles, share) for share in (0.55, 0.85)], -2)
        palm = palm.expand(*along.shape[:-4], 8, 3)
        return torch.cat((along.flatten(-4, -2), palm), -2)

    def best(self, angles: Tensor, gaps: Tensor, shape: Tensor) -> Tensor:
        """``(B, 21)`` of candidates ``(B, K, 21)``, the one with the least overlap and gap."""
        cost = self.overlap(angles, shape) + GAP_WEIGHT * gaps
        rows = torch.arange(len(angles), device=angles.device)
        return angles[rows, cost.argmin(-1)]


def _planar(angle: Tensor, bones: Tensor) -> tuple[Tensor, Tensor]:
    """Where a chain of three bones ends that all turn about z, and how that moves with each joint.

    Args:
        angle: ``(B, K, 3)`` [rad] of each bone, against rest.
        bones: ``(B, 1, 3, 3)`` at rest.

    Returns:
        End ``(B, K, 3)`` and its slopes ``(B, K, 3, 3)`` by the joints' own angles, a row each.
    """
    c, s = angle.cos(), angle.sin()
    x, y, z = bones.unbind(-1)
    u, v = c * x - s * y, s * x + c * y
    z = z.expand_as(u)
    end = torch.stack((u, v, z), -1).sum(-2)
    # What lies beyond each joint turns with it.
    beyond_u = u.flip(-1).cumsum(-1).flip(-1)
    beyond_v = v.flip(-1).cumsum(-1).flip(-1)
    return end, torch.stack((-beyond_v, beyond_u, torch.zeros_like(u)), -1)


def chain(local: Tensor, heads: Tensor) -> tuple[Tensor, Tensor]:
    """Turns ``(…, 5, 3, 3, 3)`` and origins ``(…, 5, 3, 3)`` of the fingers' joints.

    Args:
        local: ``(…, 15, 3, 3)`` of each joint against the one before.
        heads: ``(…, 5, 3, 3)`` joints at rest.
    """
    local = local.unflatten(-3, (5, 3))
    turn, origin = local[..., 0, :, :], heads[..., 0, :]
    turns, origins = [turn], [origin.expand(*turn.shape[:-1])]
    for level in (1, 2):
        bone = heads[..., level, :] - heads[..., level - 1, :]
        origins.append(origins[-1] + (turn @ bone[..., None])[..., 0])
        turn = turn @ local[..., level, :, :]
        turns.append(turn)
    return torch.stack(turns, -3), torch.stack(origins, -2)


def distances(points: Tensor) -> Tensor:
    """``(…, N, N)`` between points ``(…, N, 3)``; exact, as those by way of products are not."""
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")


def solve3(matrix: Tensor, vector: Tensor) -> Tensor:
    """``x`` of ``matrix @ x = vector`` for symmetric ``(…, 3, 3)``, by cross products."""
    a, b, c = matrix.unbind(-1)
    inverse = torch.stack(
        (torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)), -2
    )
    determinant = (a * inverse[..., 0, :]).sum(-1, keepdim=True)
    return (inverse @ vector[..., None])[..., 0] / determinant
