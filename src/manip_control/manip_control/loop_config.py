"""How the control node times its commands, and to whom it sends them."""

from dataclasses import dataclass

from manip_control.allegro_drivers import hand_driver
from manip_control.arm_drivers import arm_driver


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How commands are timed and to whom they go.

    Attributes:
        hand_rate: Hand commands a second, at most as many as the arm's (``rate``): each is one of
            those steps.
        arm_driver: How the arm is commanded: a key of ``ARM_DRIVERS``.
        arm_prefix: The UR driver's ``tf_prefix``.
        switch_controllers: Activate the arm's controller when it is wanted, and give the arm back
            at the end.
        headless: The UR driver runs without a program on the pendant.
        hand_driver: The Allegro driver in use: a key of ``HAND_DRIVERS``.
        merged_states: Publish all 22 joints by our names, where the drivers send them apart.
        realtime_priority: Of the whole process, 1 to 99 (SCHED_FIFO), where the user may; 0 for an
            ordinary one. All of it, as the loop waits for the interpreter's lock while another
            thread has that. The UR driver's own loop asks for 50.
    """

    hand_rate: float = 125.0
    arm_driver: str = "forward"
    arm_prefix: str = ""
    switch_controllers: bool = True
    headless: bool = False
    hand_driver: str = "v5"
    merged_states: bool = False
    realtime_priority: int = 10

    def __post_init__(self):
        if not 10.0 <= self.hand_rate <= 1000.0:
            raise ValueError(f"hand_rate must be within 10 and 1000 Hz, got {self.hand_rate}")
        arm_driver(self.arm_driver)
        hand_driver(self.hand_driver)
        if not 0 <= self.realtime_priority <= 99:
            raise ValueError(
                f"realtime_priority must be within 0 and 99, got {self.realtime_priority}"
            )
