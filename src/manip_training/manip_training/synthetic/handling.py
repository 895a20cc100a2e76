"""Hands that handle things: they reach, close, lift, carry, place, open and draw back.

All ways have the bell-shaped speed of :func:`~manip_training.synthetic.motion.minimum_jerk`. While
the wrist is on its way the hand opens wider than the thing, widest at 60 to 70 % of the reach, and
closes from there on (Jeannerod 1984, "The timing of natural prehension movements"). Grasps are
those of the bank. Before and after, the hand makes gestures; and some hands only seem to grasp:
they close short of the thing, or beside it, and it stays where it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_core.hand import RIGHT, SIDES
from manip_model.hand_model import HandModel
from manip_model.hand_regions import NUM_MESH_JOINTS
from manip_model.rotations import matrix_from_rotvec, rotvec_from_matrix
from manip_training.synthetic.cameras import Cameras, View
from manip_training.synthetic.draw import Draw
from manip_training.synthetic.grasps import SHAPE_NOISE, GraspBank, Stored
from manip_training.synthetic.hands import HandDraw
from manip_training.synthetic.motion import TURNED, WIDE, Motion, minimum_jerk, waves
from manip_training.synthetic.variation import vary

# How long each part takes, least and most [s].
_BEFORE, _CHANGE, _REACH = (0.3, 1.3), (0.2, 0.6), (0.45, 1.2)
_WAIT, _LIFT, _CARRY, _PLACE, _REST = (0.03, 0.3), (0.4, 0.9), (0.0, 0.8), (0.4, 0.9), (0.05, 0.4)
_OPEN, _LEAVE, _BACK, _AFTER = (0.2, 0.45), (0.05, 0.25), (0.5, 1.0), 0.6
# Of sequences that are varied, the share that lifts without a pause, and when that begins against
# the end of the closing [s]: in half of DexYCB's grasps the thing moves before the fingers rest.
_HASTY, _AT_ONCE = 0.4, (-0.15, 0.03)
# Share of the reach after which the hand is widest; how much later than the reach closing ends, its
# least time, and how much later than the first finger another may begin [s].
_PEAK, _CLOSED, _CLOSING, _LATE = (0.6, 0.7), (-0.03, 0.15), 0.16, 0.04
# How wide the hand opens, as a share of the way from the grasp to the stored open hand.
_WIDEST = (0.6, 1.0)
# Share of the closing from which skin touches, the last 3 % being its give.
CONTACT = 0.97
# How far the hand comes from and goes back to, how high things are lifted [m]; how far it turns on
# the way, and things are tilted [rad].
_FAR, _AWAY, _HIGH, _ASIDE = (0.12, 0.4), (0.1, 0.35), (0.05, 0.25), 0.08
_TURN, _TILT = 0.35, 0.3
# Directions of the approach, from the palm's normal towards the fingers [rad].
_APPROACH = (0.2, 1.4)
# Shares of things that are only held, and of hands that only seem to grasp; of those, the share
# that closes short of the thing, how short [m], and how far away it lies from the others [m].
_STILL, _MIMED, _SHORT, _SHORT_BY, _ELSEWHERE = 0.2, 0.22, 0.5, (0.08, 0.16), (0.2, 0.45)
# Nearest that anything comes to the camera [m].
_NEAREST = 0.25


@dataclass(frozen=True)
class Handling:
    """Hands and things over time, B sequences of T frames, ``camera_optical_frame``.

    Attributes:
        motion: Of the hands; its ``touch`` says nothing here.
        index: ``(B,)`` class of the thing.
        rotation, position: ``(B, T, 3, 3)`` and ``(B, T, 3)`` [m] of the thing.
        grasped: ``(B,)`` bool, the hand grasps the thing; else it only seems to.
        contact: ``(B, T)`` bool, fingers lie on the thing.
        held: ``(B, T)`` bool, the hand has closed about it and not begun to open.
    """

    motion: Motion
    index: Tensor
    rotation: Tensor
    position: Tensor
    grasped: Tensor
    contact: Tensor
    held: Tensor


@dataclass(frozen=True)
class _Plan:
    """When each part begins and how long it lasts, ``(B, 1)`` [s]."""

    change: tuple[Tensor, Tensor]
    widen: tuple[Tensor, Tensor]
    reach: tuple[Tensor, Tensor]
    close: tuple[Tensor, Tensor]
    lift: tuple[Tensor, Tensor]
    place: tuple[Tensor, Tensor]
    open: tuple[Tensor, Tensor]
    back: tuple[Tensor, Tensor]

    @classmethod
    def draw(cls, draw: Draw, varied: bool = False) -> "_Plan":
        """Every part follows from the one before it."""
        before, reach = draw.uniform(*_BEFORE, 1), draw.log_uniform(*_REACH, 1)
        peak = draw.uniform(*_PEAK, 1) * reach
        closing = (reach + draw.uniform(*_CLOSED, 1) - peak).clamp(min=_CLOSING)
        closed = before + peak + closing
        wait = draw.uniform(*_WAIT, 1)
        if varied:
            hasty = draw.chance(_HASTY)[:, None]
            wait = torch.where(hasty, draw.uniform(*_AT_ONCE, 1), wait)
        lift, lasts = closed + wait, draw.uniform(*_LIFT, 1)
        place, placing = lift + lasts + draw.uniform(*_CARRY, 1), draw.uniform(*_PLACE, 1)
        opened = place + placing + draw.uniform(*_REST, 1)
        return cls(
            change=(draw.uniform(0, 0.8, 1) * before, draw.uniform(*_CHANGE, 1)),
            widen=(before, peak),
            reach=(before, reach),
            # Fingers that begin late have closed by then as well.
            close=(before + peak, closing - _LATE),
            lift=(lift, lasts),
            place=(place, placing),
            open=(opened, draw.uniform(*_OPEN, 1)),
            back=(opened + draw.uniform(*_LEAVE, 1), draw.uniform(*_BACK, 1)),
        )

    @property
    def closed(self) -> Tensor:
        """When all fingers have closed."""
        begin, lasts = self.close
        return begin + lasts + _LATE


class Handlings:
    """Draws hands that handle things; constants on one device.

    Attributes:
        bank: The grasps.

    Args:
        hands: Draws gestures.
        cameras: Draw where things are.
        model: Of the hand.
        bank: The grasps.
    """

    def __init__(self, hands: HandDraw, cameras: Cameras, model: HandModel, bank: GraspBank):
        self._hands, self._cameras, self.bank = hands, cameras, bank
        self._model = keypoint_model(model)
        self.weigh(torch.ones(len(bank), device=model.template.device))

    def weigh(self, weights: Tensor) -> None:
        """Draw the bank's rows as often as ``(N,)`` says; all alike by default."""
        if len(weights) != len(self.bank) or not (weights >= 0).all() or not weights.sum() > 0:
            raise ValueError(
                f"weights must be {len(self.bank)}, none negative and not all 0, got {weights}"
            )
        self._cumulative = (weights.double().cumsum(0) / weights.double().sum()).float()

    @torch.no_grad()
    def draw(
        self,
        size: int,
        frames: int,
        rate: float,
        generator: torch.Generator,
        whole: bool = False,
        varied: Callable[[Tensor, Stored], Tensor] | None = None,
    ) -> Handling:
        """So many sequences.

        Args:
            size: Sequences B.
            frames: Of each, T.
            rate: Frames a second.
            generator: Where the numbers come from.
            whole: Sequences begin before the hand reaches out; else at any moment about the grasp.
            varied: For training: grasps that are not quite those of the bank, and things that are
                lifted before the hand has closed. Says of rows ``(B,)`` of the bank and what has
                come of them whether those are the same grasps yet ``(B,)``.

        Raises:
            ValueError: No frame, or a rate that is not positive.
        """
        if frames < 1 or not rate > 0:
            raise ValueError(f"frames must be 1 or more at a positive rate, got {frames} at {rate}")
        draw = Draw(size, generator)
        plan = _Plan.draw(draw, varied is not None)
        times = torch.arange(frames, device=draw.device) / rate
        lasts = frames / rate + 0.6
        start = plan.closed - draw.uniform(-0.9, 1, 1) * lasts
        at = times + (torch.zeros_like(start) if whole else start)  # (B, T)
        rows = draw.pick(self._cumulative)
        stored = self.bank.rows(rows)
        if varied is not None:
            stored = vary(stored, draw, partial(varied, rows))
        mimed = draw.chance(_MIMED)
        shape = stored.shape + SHAPE_NOISE * draw.normal(10)
        vectors, closing, opening = self._fingers(draw, plan, stored, shape, mimed, at)
        fingers = matrix_from_rotvec(vectors)
        posed = self.keypoints(fingers, shape)
        grip = self.keypoints(matrix_from_rotvec(stored.closed)[:, None], shape)
        middle = grip.mean((1, 2))
        view = self._cameras.view(draw, middle, torch.zeros_like(mimed))
        rotation, place, turned, position = self._ways(
            draw, plan, stored, middle, view, mimed, at, times
        )
        joints = (posed - middle[:, None, None]) @ rotation.mT + place[:, :, None]
        real = ~mimed[:, None]
        motion = Motion(
            times, joints, rotation, fingers, shape, torch.zeros_like(closing, dtype=torch.int64)
        )
        return Handling(
            motion=motion,
            index=stored.index,
            rotation=turned,
            position=position,
            grasped=~mimed,
            contact=(closing >= CONTACT) & (opening <= 1 - CONTACT) & real,
            held=(at >= plan.closed) & (at <= plan.open[0]) & real,
        )

    def _fingers(
        self, draw: Draw, plan: _Plan, stored: Stored, shape: Tensor, mimed: Tensor, at: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotation vectors ``(B, T, 15, 3)``, and how far the slowest finger has closed and the
        quickest opened ``(B, T)``."""
        size = len(shape)
        gestures = self._hands.gestures(
            Draw(3 * size, draw.generator), shape.repeat_interleave(3, 0)
        )
        keys = rotvec_from_matrix(self._hands.rotations(gestures.angles))
        first, second, last = keys.unflatten(0, (size, 3))[:, :, None].unbind(1)  # (B, 1, 15, 3)
        # Who only seems to grasp closes as if it did, or makes a gesture.
        gesture = (mimed & draw.chance(0.5))[:, None, None, None]
        closed = torch.where(gesture, second, stored.closed[:, None])
        opened = stored.opened[:, None]
        wide, wider = (draw.uniform(*_WIDEST, 1, 1, 1) for _ in range(2))
        late = draw.uniform(0, _LATE, 5).repeat_interleave(3, 1)[:, None]  # (B, 1, 15)

        def share(part: tuple[Tensor, Tensor]) -> Tensor:
            """``(B, T, 15)``."""
            begin, lasts = (value[..., None] for value in part)
            return minimum_jerk((at[..., None] - late - begin) / lasts)

        closing, opening = share(plan.close), share(plan.open)
        after = plan.back[0] + 0.2, torch.full_like(plan.back[0], _AFTER)
        pose = first
        for target, way in (
            (second, share(plan.change)),
            (torch.lerp(closed, opened, wide), share(plan.widen)),
            (closed, closing),
            (torch.lerp(closed, opened, wider), opening),
            (last, share(after)),
        ):
            pose = torch.lerp(pose, target, way[..., None])
        return pose, closing.amin(-1), opening.amax(-1)

    def _ways(
        self,
        draw: Draw,
        plan: _Plan,
        stored: Stored,
        middle: Tensor,
        view: View,
        mimed: Tensor,
        at: Tensor,
        times: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Turn ``(B, T, 3, 3)`` and place ``(B, T, 3)`` of the hand's middle, then of the thing."""

        def share(part: tuple[Tensor, Tensor], hurry: float = 1.0) -> Tensor:
            """``(B, T, 1)``."""
            return minimum_jerk((at - part[0]) / (hurry * part[1]))[..., None]

        reach, back = share(plan.reach), share(plan.back)
        lift, placed = share(plan.lift), share(plan.place)
        # The thing, and the hand that holds it, on their way.
        moved = (~draw.chance(_STILL))[:, None, None]
        up = (view.up * draw.uniform(*_HIGH, 1))[:, None]
        aside, further = (_ASIDE * draw.normal(1, 3) for _ in range(2))
        carried = moved * ((up + aside) * lift + (further - up) * placed)
        tilt = matrix_from_rotvec(moved * _TILT * draw.normal(1, 3) * (lift - placed))

        grip = view.rotation[:, None]
        towards, departs = (_direction(draw) @ view.rotation.mT for _ in range(2))  # (B, 1, 3)
        far = draw.log_uniform(*_FAR, 1, 1) * towards + 0.05 * draw.normal(1, 3)
        away = draw.log_uniform(*_AWAY, 1, 1) * departs
        # On its way the hand sways; what it holds, or is about to, stands still.
        free = 1 - reach + back
        lively = draw.log_uniform(0.15, 1.0, 1, 1)
        sway = free * lively * WIDE * waves(draw, times, 3)
        turn = matrix_from_rotvec(free * lively.sqrt() * TURNED * waves(draw, times, 3))
        first, last = (_TURN * draw.normal(1, 3) for _ in range(2))
        own = matrix_from_rotvec(first * (1 - share(plan.reach, 0.85)))
        rotation = turn @ tilt @ grip @ own @ matrix_from_rotvec(last * back)
        short = draw.chance(_SHORT)[:, None, None] & mimed[:, None, None]
        before = short * draw.uniform(*_SHORT_BY, 1, 1) * towards
        start = view.middle[:, None]
        place = start + carried - far * (1 - reach) - away * back + sway - before

        # A thing that is not grasped stays where it is.
        real = ~mimed[:, None, None]
        tilt = torch.where(real[..., None], tilt, torch.eye(3, device=tilt.device))
        turned = tilt @ grip @ stored.rotation[:, None]
        from_middle = (stored.position - middle)[:, None, :, None]
        elsewhere = F.normalize(draw.normal(1, 3), dim=-1) * draw.uniform(*_ELSEWHERE, 1, 1)
        elsewhere = elsewhere * (mimed[:, None, None] & ~short)
        position = start + real * carried + (tilt @ grip @ from_middle)[..., 0] + elsewhere
        nearest = torch.minimum(place[..., 2], position[..., 2]).amin(1)
        beyond = F.pad((_NEAREST - nearest).clamp(min=0)[:, None, None], (2, 0))
        return rotation, place + beyond, turned, position + beyond

    def keypoints(self, fingers: Tensor, shape: Tensor) -> Tensor:
        """Keypoints ``(B, T, 21, 3)`` [m] of right hands at rest in space.

        Args:
            fingers: ``(B, T, 15, 3, 3)`` turns of the joints but the wrist.
            shape: ``(B, 10)``.
        """
        size, frames = fingers.shape[:2]
        fingers = fingers.flatten(0, 1)
        still = torch.eye(3, device=shape.device).expand(len(fingers), 1, 3, 3)
        side = torch.full((len(fingers),), SIDES.index(RIGHT), device=shape.device)
        shapes = shape.repeat_interleave(frames, 0)
        turns = torch.cat((still, fingers), 1)
        joints = self._model(turns, shapes, torch.zeros_like(shapes[:, :3]), side).joints
        return joints.unflatten(0, (size, frames))


def keypoint_model(model: HandModel) -> HandModel:
    """The same hand without its skin: of the vertices the fingertips alone, and one at each joint,
    which the joints are regressed from. Some forty times as fast.

    Raises:
        ValueError: Its skin depends on the pose, as MANO's does.
    """
    if model.pose_directions is not None:
        raise ValueError("the hand's skin must not depend on its pose: give the open hand")
    tips = model.tips
    joints = torch.eye(NUM_MESH_JOINTS)
    directions = torch.cat((model.shape_directions[tips], model.joint_directions))
    arrays = {
        "template": torch.cat((model.template[tips], model.joint_template)),
        "shape_directions": directions,
        "regressor": torch.cat((torch.zeros(NUM_MESH_JOINTS, len(tips)), joints), 1),
        "weights": torch.cat((model.weights[tips].cpu(), joints)),
        "tips": torch.arange(len(tips)),
        "faces": torch.zeros(0, 3),
    }
    held = {name: value.cpu().numpy() for name, value in arrays.items()}
    held |= {"pose_mean": model.pose_mean, "pose_components": model.pose_components}
    return HandModel(held, model.kind).to(model.template.device)


def _direction(draw: Draw) -> Tensor:
    """``(B, 1, 3)`` unit, in which a right hand at rest comes to a thing: its palm faces -y, its
    fingers point along -x."""
    angle = draw.uniform(*_APPROACH, 1, 1)
    way = torch.cat((-angle.sin(), -angle.cos(), 0.25 * draw.normal(1, 1)), -1)
    return F.normalize(way, dim=-1)
