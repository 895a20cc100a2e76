"""What the synthetic world shows, and how often."""

from dataclasses import dataclass

VARIANTS = ("train", "val")
DEFAULT_BACKGROUNDS = "data/backgrounds"


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """What the world shows, and how often.

    Attributes:
        variant: ``"train"`` or ``"val"``: other people, grasps, objects, patterns, cameras and
            backgrounds.
        backgrounds: Folder of pictures to put behind, if it exists; empty for drawn ones alone.
        left: Share of left hands.
        holding: Share of hands that hold an object or come near it.
        closed: Share of those that have closed about it.
        extra: Share of pictures with a thing before or behind the hand.
        other_hand: Share with a second hand, of the other side.
        bystander: Share with a person behind.
        sleeve, bracelet: Shares of forearms with one.
        gloves: Share of hands in gloves.
        candidates: Poses drawn for each hand, of which the one that least passes through itself is
            taken.
        blend: Share of hands between two gestures.
        side, free: Shares of hands seen from the side, and turned in any way at all; the others
            show palm or back, mostly fingers up, as before a webcam.
        crop_scale, crop_shift: How far crops are off, as ``exp(±)`` and as a share of their side.
        quality: Least and most quality of the JPEG pictures, 1 to 99.
    """

    variant: str = "train"
    backgrounds: str = DEFAULT_BACKGROUNDS
    left: float = 0.5
    holding: float = 0.3
    closed: float = 0.75
    extra: float = 0.22
    other_hand: float = 0.08
    bystander: float = 0.35
    sleeve: float = 0.55
    bracelet: float = 0.12
    gloves: float = 0.02
    candidates: int = 5
    blend: float = 0.3
    side: float = 0.15
    free: float = 0.35
    crop_scale: float = 0.15
    crop_shift: float = 0.06
    quality: tuple[float, float] = (30.0, 97.0)

    def __post_init__(self):
        object.__setattr__(self, "quality", tuple(self.quality))
        if len(self.quality) != 2 or not 1 <= self.quality[0] <= self.quality[1] <= 99:
            raise ValueError(f"quality must rise within 1 and 99, got {self.quality}")
        if self.variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {self.variant!r}")
        for name in ("left", "holding", "closed", "extra", "other_hand", "bystander", "sleeve",
                     "bracelet", "gloves", "blend", "side", "free"):  # fmt: skip
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be a share, 0 to 1, got {value}")
        if self.sleeve + self.bracelet > 1:
            raise ValueError(
                f"sleeve and bracelet are shares of one whole, got {self.sleeve} and "
                f"{self.bracelet}"
            )
        if self.side + self.free > 1:
            raise ValueError(
                f"side and free are shares of one whole, got {self.side} and {self.free}"
            )
        if self.candidates < 1:
            raise ValueError(f"candidates must be 1 or more, got {self.candidates}")
        for name in ("crop_scale", "crop_shift"):
            value = getattr(self, name)
            if not 0 <= value <= 0.5:
                raise ValueError(f"{name} must lie within 0 and 0.5, got {value}")
