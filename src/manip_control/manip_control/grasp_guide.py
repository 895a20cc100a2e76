"""Help with grasping what is known: the palm is led onto a grasp, the fingers hold, he who reaches
decides.

A robot's hand is no human's: where the human's fingers meet an object, the robot's would pass or
shove it. Where the scene's objects are known (``/scene/objects``), a grasp is planned for the one
that the operator reaches for (`grasp_planner`), and the target is moved onto it by degrees
(Dragan, Srinivasa 2013, "A policy-blending formalism for shared control"):

* **nearing**: a grasp is planned, and planned again; the robot is the operator's, but is kept off
  the object;
* **reaching**: the nearer the operator's grip, the more of the target is the place where the grasp
  begins, a hand's breadth before the object and open. There it waits for him to grasp. He goes on
  meanwhile, so its way is looked at again and again, and it is kept off the object as before;
* **closing**: once he grasps, by the decoder's word or because his hand has come, slowed down and
  closed, the palm goes in along a straight line, and both sides of the hand come together until
  they press with the force that the decoder told;
* **holding**: the palm follows the operator's motion since he was nearest to the object, and
  lowest;
* **leaving**: when he opens his hand, the fingers open at once, the palm draws back the way it
  came, and by then is with his motion; when it is clear of the object, what was added to his target
  fades.

The operator may break off at any time by opening his hand or going away. What comes out goes
through the limiter and the guard as every target. Objects that nobody knows are grasped with
`assist` alone.
"""

from dataclasses import replace

import numpy as np

from manip_control.assist import HAND, Assist
from manip_control.assist_config import AssistConfig, GraspIntent
from manip_control.grasp_planner import STANDOFF, Grasp, Request
from manip_control.grip import Grip
from manip_control.guide_config import GuideConfig
from manip_control.led_arm import ARM, LedArm, Pose
from manip_control.object_room import ObjectRoom
from manip_control.opposition import Opposition
from manip_control.palm_reach import PalmReach
from manip_control.prospects import Prospects
from manip_core.hand import RIGHT
from manip_core.primitive import KnownObject
from manip_core.rotation import logarithm

FREE, NEARING, REACHING, ENTERING, CLOSING, HOLDING, LEAVING = range(7)
# The palm is where it should be: so near [m, rad].
_THERE, _TURNED = 0.006, 0.06
_BEFORE, _BEFORE_TURNED = 0.02, 0.15
# The palm goes on slowly for so long after the hand holds [s].
_GENTLY = 1.2
# It rests there for so long before the hand closes; where it does not come so near, so long [s].
_RESTS, _RESTS_ANYWAY = 0.1, 0.5
# A way that holds up the arm is given up after so long [s].
_HELD_UP = 0.3
# It is held up again where the palm has come no farther than this [m].
_STUCK = 0.02
# While the palm goes in, a grasp goes with an object that is moved, between these [m].
_NUDGED, _SHOVED = 0.001, 0.04
# A tip that is so much nearer than the grip counts as it [m]: straight fingers come first.
_AHEAD = 0.1
# How much farther he may be, in a hurry.
_FARTHER = 2.0
# He turns to another object where that is nearer by so much [m].
_NEARER_BY = 0.04
# An object is passed by so many times the distance at which it is seen.
_PAST = 1.1
# The palm draws back when fingers have opened by so much [m].
_OPENED = 0.01
# The palm is clear of what it let go: so far from where it did [m], or after [s].
_CLEAR, _CLEAR_AFTER = 0.08, 3.0
# The operator lets go by opening his hand by so many times what is enough elsewhere: of what is
# held, and before it is; fingers of a hand that carries something are seen to move.
_OPENS, _OPENS_BEFORE = 1.5, 3.0
# Rise with which what is held is turned as the operator turns his hand [m].
_CLEAR_OF_TABLE = 0.05
# Time over which the operator's speed is averaged [s].
_CALM_TIME = 0.1
# Share of the speed of turning while something is held.
_CALM = 0.3


class GraspGuide:
    """`Assist` for objects that are known. Times are arguments, in [s].

    Attributes:
        phase: FREE, NEARING, REACHING, ENTERING, CLOSING, HOLDING or LEAVING.
        grasp: The grasp that is led to, or None.
    """

    def __init__(
        self,
        assist: AssistConfig,
        config: GuideConfig,
        side: str = RIGHT,
        opposition: Opposition | None = None,
    ):
        self.config = config
        self._assist = Assist(assist, side)
        self._opposition = opposition or Opposition(side)
        self._reach = PalmReach(side)
        self._arm = LedArm(self._reach, ObjectRoom(side))
        self._grip = Grip(self._assist, config, side, self._opposition)
        self._prospects = Prospects()
        self._measured: np.ndarray | None = None
        self._stepped_at: float | None = None
        self.release()

    def release(self) -> None:
        """The robot is the operator's alone."""
        self._assist.release()
        self.phase, self.grasp = FREE, None
        self._thing: KnownObject | None = None
        self._prospects.release()
        self._arm.release()
        # The operator's palm: last, where he was nearest, where he let go.
        self._operator: Pose | None = None
        # The middle of his grip, and his fingertips ``(5, 3)``.
        self._hand = np.full((5, 3), np.inf)
        self._began: Pose | None = None
        self._left: Pose | None = None
        self._nearest = np.inf
        self._since = -np.inf
        self._hurry = self._held_up = 0.0
        # Another grasp of the object is wanted, for something holds up the way to this one.
        self._elsewhere, self._stuck_at = False, np.full(3, np.inf)
        self._width = self._widest = self._speed = 0.0
        self._share = self._in = self._rests = 0.0

    @property
    def holding(self) -> bool:
        """The hand is closing, or holds."""
        return self.phase in (ENTERING, CLOSING, HOLDING) or self._assist.holding

    @property
    def guiding(self) -> bool:
        """The palm is led."""
        return self._arm.pose is not None and self.phase != NEARING

    def intend(self, intent: GraspIntent, now: float) -> None:
        """As of `Assist.intend`."""
        self._assist.intend(intent, now)

    def feel(self, measured: np.ndarray, commanded: np.ndarray, now: float) -> None:
        """As of `Assist.feel`."""
        self._assist.feel(measured, commanded, now)
        self._measured = measured

    def see(self, things: list[KnownObject], now: float) -> None:
        """Take where all known objects are; those that are not named are known no more."""
        self._prospects.see(things, now)

    def wanted(self) -> Request | None:
        """What a grasp should be planned for; asked by who plans, again and again."""
        return self._prospects.asked

    def accept(self, request: Request, grasp: Grasp | None, now: float) -> None:
        """Take the plan for a `wanted`, None where there is none."""
        if not self._prospects.answered(request, grasp, now):
            return
        if request.led is not None:
            # Whatever is led to was planned before that was asked.
            if self.phase == REACHING:
                if grasp is not None and grasp is not request.led:
                    self._arm.begin(grasp.way, self._measured)
                self._arm.keep_off((request.thing, *request.others))
            return
        other = self.phase == REACHING and request.name != self._thing.name
        if self.phase not in (FREE, NEARING, REACHING) or (other and self._hurry):
            return
        if grasp is None:
            self._elsewhere = False
            if self.phase == NEARING:
                self._give_up(now)
            return
        self._thing = request.thing
        self.grasp, self._held_up, self._elsewhere = grasp, 0.0, False
        self._grip.reach(grasp.opened, grasp.opposition)
        self._arm.begin(grasp.way, self._measured)
        self._arm.keep_off((request.thing, *request.others))
        if self.phase != REACHING or other:
            self.phase, self._hurry, self._share = NEARING, 0.0, 0.0
            self._began, self._nearest = None, np.inf

    def aim(
        self, target: np.ndarray, velocity: np.ndarray, now: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Target ``(22,)`` [rad] and its velocity [rad/s], as helped."""
        stepped = now if self._stepped_at is None else self._stepped_at
        elapsed, self._stepped_at = float(np.clip(now - stepped, 0.0, 0.1)), now
        self._prospects.expect(now, self.config.guide_timeout)
        if self._measured is None or not (self._prospects.things or self._arm.pose is not None):
            return self._assist.aim(target, velocity, now)
        palm, tips = self._reach.pose(target), self._reach.tips
        before, self._operator = self._operator or palm, palm
        went = float(np.linalg.norm(palm[0] - before[0]))
        turned = float(np.linalg.norm(logarithm(palm[1] @ before[1].T)))
        self._hand = np.vstack((palm[0] + palm[1] @ self._opposition.centre, tips))
        self._watch(target, went, elapsed)
        self._go_on(palm, self._grasps(now), self._let_go(), now, elapsed)
        self._look(palm, now)
        self._share = self._led_share()
        if self.phase == FREE and self._arm.pose is None:
            return self._assist.aim(target, velocity, now)
        if self.phase == HOLDING:
            # What has just been taken is not torn away.
            slow = float(np.clip((now - self._since) / _GENTLY, 0.05, 1.0))
            went, turned, elapsed = slow * went, slow * slow * turned, slow * elapsed
        helped, speeds = self._lead(target, velocity, palm, went, turned, elapsed)
        if self.phase == NEARING:
            # Fingers may still take what nobody knows.
            helped, speeds = self._assist.aim(helped, speeds, now)
        return helped, speeds

    def _away(self, place: np.ndarray) -> float:
        """How far the operator is from a place: his grip, or a tip that comes before it [m]."""
        grip, *tips = np.linalg.norm(self._hand - place, axis=1)
        return float(min(grip, min(tips) + _AHEAD))

    def _watch(self, target: np.ndarray, went: float, elapsed: float) -> None:
        """How wide the operator's hand is, was, and how fast it goes."""
        self._width = self._grip.width(target[HAND])
        self._widest = max(self._widest, self._width) if self.phase == REACHING else self._width
        share = min(1.0, elapsed / _CALM_TIME)
        self._speed += share * (went / max(elapsed, 1e-3) - self._speed)

    def _grasps(self, now: float) -> bool:
        """The operator grasps: the decoder says so, or his hand has come, slowed down and closed.

        At an object that he reaches for, less of the decoder's word is enough than anywhere.
        """
        if self.phase != REACHING:
            return False
        config = self.config
        if self._assist.sure(now, least=config.guide_grasping) and not self._assist.opened:
            return True
        near = self._away(self.grasp.centre) < config.guide_near
        closed = self._widest - self._width > config.guide_closes
        if not (near and closed and self._speed < config.guide_slow):
            return False
        self._assist.closed_again()
        return True

    def _let_go(self) -> bool:
        """The operator opens his hand; farther where the robot does not hold yet. All fingers
        count: which ones the decoder names changes from word to word, and with them the gap."""
        reaching = self.phase == REACHING and self._hurry
        if self.phase not in (ENTERING, CLOSING, HOLDING) and not reaching:
            return False
        share = _OPENS if self.phase == HOLDING else _OPENS_BEFORE
        return self._assist.parted(self._width, share)

    def _look(self, palm: Pose, now: float) -> None:
        """Ask for a grasp of the object that the operator comes near, or for a way to it."""
        config, prospects, q = self.config, self._prospects, self._measured
        if self._assist.squeezing or self.phase not in (FREE, NEARING, REACHING):
            # A hand that holds something unknown is not opened for something known.
            return
        away, name = prospects.nearest(self._away, config.guide_sees, config.guide_rest)
        if self.phase != REACHING:
            prospects.look(name, palm, q, now)
            return
        nearer = away < self._away(self._thing.place) - _NEARER_BY
        if nearer and name != self._thing.name and not self._hurry:
            prospects.look(name, palm, q, now)
            if prospects.asked is not None:
                return
        # The operator goes on while he is led, and draws the hand off its way.
        led = None if self._elsewhere else replace(self.grasp, way=self._arm.way)
        prospects.look_again(self._thing, led, palm, q, now)

    def _go_on(
        self,
        palm: Pose,
        grasps: bool,
        let_go: bool,
        now: float,
        elapsed: float,
    ) -> None:
        """From one phase to the next."""
        config, grasp = self.config, self.grasp
        if self.phase == NEARING:
            away = self._away(self._thing.place)
            gone = away > _PAST * config.guide_sees or self._prospects.moved(self._thing)
            if gone or self._assist.squeezing:
                self._give_up(now)
            elif away < config.guide_reach:
                self.phase, self._elsewhere = REACHING, False
                self._prospects.soon()
        elif self.phase == REACHING:
            self._go_on_reaching(palm, grasps, let_go, now, elapsed)
        elif self.phase in (ENTERING, CLOSING):
            self._note(palm)
            late = now > self._since + config.guide_patience
            if let_go or (late and self.phase == ENTERING):
                self._leave(palm, now)
            elif self.phase == ENTERING:
                self._enter(elapsed)
            elif self._grip.close(grasp, elapsed) or late:
                self.phase, self._since = HOLDING, now
                self._prospects.held()
                self._assist.release()
        elif self.phase == HOLDING:
            if let_go:
                self._leave(palm, now)
            else:
                self._grip.close(grasp, elapsed)
        elif self.phase == LEAVING:
            self._grip.widen(grasp, elapsed)
            if self._grip.gap > grasp.gap + _OPENED:
                self._in = max(0.0, self._in - config.guide_enter_speed * elapsed)
            clear = np.linalg.norm(palm[0] - self._left[0]) > _CLEAR and self._in == 0.0
            if clear or now > self._since + _CLEAR_AFTER:
                self._give_up(now)

    def _go_on_reaching(
        self, palm: Pose, grasps: bool, let_go: bool, now: float, elapsed: float
    ) -> None:
        """From reaching to the grasp, to another way, or back."""
        away = self._away(self.grasp.centre)
        # He grasps already: the rest of the way is the robot's.
        if grasps and not self._hurry:
            self._hurry, self._since = 1.0, now
            self._assist.release()
        self._note(palm)
        held_up = self._arm.stands(self._measured, elapsed) or self._arm.held_up
        self._held_up = self._held_up + elapsed if held_up else 0.0
        # Who has grasped and lifts his hand already has the robot go on, or opens it.
        waits = self._hurry and now < self._since + self.config.guide_patience
        gone = away > self.config.guide_leave * (_FARTHER if waits else 1.0)
        stuck = self._held_up > _HELD_UP and not self._elsewhere
        place = self._reach.pose(self._measured)[0] if stuck else None
        again = stuck and np.linalg.norm(place - self._stuck_at) < _STUCK
        if gone or let_go or again or self._prospects.moved(self._thing):
            # Where no way leads on, the operator may find one.
            self._give_up(now)
        elif stuck:
            self._elsewhere, self._stuck_at = True, place
            self._prospects.held_up(self._thing.name)
            # Another way begins where the arm is.
            self._arm.wait(self._measured)
        elif self._hurry and self._arrived():
            self.phase, self._since, self._in = ENTERING, now, 0.0
            self._assist.release()

    def _note(self, palm: Pose) -> None:
        """Where the operator was nearest to the object, and how low."""
        away = float(np.linalg.norm(self._hand[0] - self.grasp.centre))
        if self._began is None:
            self._began = palm[0].copy(), palm[1]
        lowest = min(palm[0][2], self._began[0][2])
        if away < self._nearest:
            self._began, self._nearest = (palm[0].copy(), palm[1]), away
        self._began[0][2] = lowest

    def _arrived(self) -> bool:
        """The robot is where the grasp begins."""
        place, turn = self._reach.pose(self._measured)
        off = np.linalg.norm(logarithm(self.grasp.rotation @ turn.T))
        return np.linalg.norm(self.grasp.before - place) < _BEFORE and off < _BEFORE_TURNED

    def _enter(self, elapsed: float) -> None:
        self._follow()
        grasp, (place, turn) = self.grasp, self._reach.pose(self._measured)
        off = np.linalg.norm(logarithm(grasp.rotation @ turn.T))
        self._in = min(STANDOFF, self._in + self.config.guide_enter_speed * elapsed)
        if self._in < STANDOFF:
            self._rests = 0.0
            return
        self._rests += elapsed
        there = np.linalg.norm(grasp.position - place) < _THERE and off < _TURNED
        if (there and self._rests > _RESTS) or self._rests > _RESTS_ANYWAY:
            self.phase = CLOSING

    def _follow(self) -> None:
        """The grasp goes with an object that was nudged."""
        thing, planned = self._prospects.things.get(self._thing.name), self._thing
        if thing is None:
            return
        moved = thing.place - planned.place
        if _NUDGED < np.linalg.norm(moved) < _SHOVED:
            grasp = self.grasp
            self.grasp = replace(
                grasp, position=grasp.position + moved, centre=grasp.centre + moved
            )
            self._thing = replace(planned, place=thing.place)

    def _leave(self, palm: Pose, now: float) -> None:
        self._assist.release()
        self._grip.let_go()
        if self.phase != HOLDING:
            # It has not followed him yet.
            self._began = palm
        self.phase, self._since, self._left = LEAVING, now, palm

    def _give_up(self, now: float) -> None:
        self.phase, self.grasp, self._thing = FREE, None, None
        self._arm.end()
        self._prospects.rest(now)

    def _led_share(self) -> float:
        """How much of the target is not the operator's, 0 to 1."""
        if self.phase in (FREE, NEARING):
            return 0.0
        if self.phase != REACHING:
            return 1.0
        near, far = self.config.guide_near, self.config.guide_reach
        share = np.clip((far - self._away(self.grasp.centre)) / (far - near), 0.0, 1.0)
        # It goes back only when he has gone away: on the way back to a hand that is at the object,
        # it would be in the way.
        return max(self._share, self._hurry, float(share * share * (3.0 - 2.0 * share)))

    def _wish(self, palm: Pose) -> Pose:
        """Where the palm should be from the time on that he grasps."""
        grasp = self.grasp
        if self.phase in (ENTERING, CLOSING):
            return grasp.before + self._in * grasp.approach, grasp.rotation
        # As the operator has moved since he was nearest; as he leaves, the more the farther it has
        # drawn back.
        went, turned = palm[0] - self._began[0], palm[1] @ self._began[1].T
        back = 0.0
        if self.phase == LEAVING:
            back = STANDOFF - self._in
            went -= (1.0 - back / STANDOFF) * (palm[0] - self._left[0])
        return grasp.position + went - back * (turned @ grasp.approach), turned @ grasp.rotation

    def _lead(
        self,
        target: np.ndarray,
        velocity: np.ndarray,
        palm: Pose,
        went: float,
        turned: float,
        elapsed: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """A step of the led palm, or back to the operator's."""
        config, arm = self.config, self._arm
        if self.phase in (FREE, NEARING, REACHING):
            q = arm.towards(target, self._share, config.guide_joint_speed, self._measured, elapsed)
        else:
            most = config.guide_speed * elapsed + went
            most_turn = self._most_turn(turned, elapsed)
            q = arm.along(target, self._wish(palm), most, most_turn, elapsed)
        helped, speeds = target.copy(), velocity.copy()
        if self.phase == NEARING and (q[ARM] == target[ARM]).all():
            arm.take(q, target, elapsed)
            return helped, speeds
        helped[ARM], speeds[ARM] = q[ARM], arm.take(q, target, elapsed)
        if self.phase == FREE:
            arm.let_go(target)
        if self.phase in (FREE, NEARING):
            return helped, speeds
        hand = self._measured[HAND]
        if self.phase == REACHING:
            shape = self._grip.opened(hand, arm.opening(self._measured))
        else:
            shape = self._grip.fingers(hand, self.grasp)
        helped[HAND] += self._share * (shape - target[HAND])
        speeds[HAND] *= 1.0 - self._share
        return helped, speeds

    def _most_turn(self, turned: float, elapsed: float) -> float:
        """How far the palm may turn in a step [rad], in which the operator's ``turned``."""
        most = self.config.guide_turn_speed * elapsed
        if self.phase != HOLDING:
            return most + turned
        # What stands on a table is lifted before it is turned.
        risen = (self._arm.pose[0] - self.grasp.position)[2] / _CLEAR_OF_TABLE
        return (_CALM * most + turned) * float(np.clip(risen, 0.0, 1.0))
