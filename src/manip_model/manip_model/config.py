"""Sizes of the pose transformer: one frozen config, and the presets that ship."""

from dataclasses import asdict, dataclass, fields, replace

# Allowed names, best first where an order matters; "auto" takes the first that works.
ATTENTION_KINDS = ("auto", "flash_attention_3", "flash_attention_2", "sdpa", "eager")
GENERATIONS = ("transformer", "first_generation", "convolutional")
HAND_FRAMES = ("local", "global")

# The 21 objects of DexYCB (YCB object set), in the order of its class numbers 1 to 21.
YCB_CLASSES = (
    "002_master_chef_can",
    "003_cracker_box",
    "004_sugar_box",
    "005_tomato_soup_can",
    "006_mustard_bottle",
    "007_tuna_fish_can",
    "008_pudding_box",
    "009_gelatin_box",
    "010_potted_meat_can",
    "011_banana",
    "019_pitcher_base",
    "021_bleach_cleanser",
    "024_bowl",
    "025_mug",
    "035_power_drill",
    "036_wood_block",
    "037_scissors",
    "040_large_marker",
    "051_large_clamp",
    "052_extra_large_clamp",
    "061_foam_brick",
)

NUM_OBJECT_QUERIES = 10
NUM_CONTACTS = 10
CONTACT_TYPES = ("none", "light", "firm", "manipulation")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that shapes the network's weights, and the two switches that choose their use.

    Attributes:
        generation: ``"transformer"`` (DINOv2 backbone) or ``"first_generation"`` (three patch
            encoders from scratch) or ``"convolutional"`` (the spatial prior alone).
        image_size, patch_size: In [px]; the image is square.
        hidden, layers, heads: Width, depth and attention heads of the backbone.
        taps: Layers (1-based) whose features are fused.
        prior_width: Of the spatial prior's first layer, a multiple of 8; 0 for none. Its norms
            see in training what one process holds of a batch.
        width: Width of the fused features and of all heads.
        decoder_layers, decoder_heads: Of each head's transformer decoder.
        frame_width: Width of the encoder of the 22-frame hand.
        refine_steps: Pixel-aligned refinements of the joints, 0 or more.
        hand_frames: ``"local"``: vertices in 22 frames; ``"global"``: in the camera's alone.
        pretrained: Hub name or local folder of DINOv2 weights; empty for random ones.
        frozen_layers: Backbone layers that stay as they were pretrained; -1 is half of them
            where weights are pretrained, none where not.
        mirror_left: Left hands are shown to the network in the mirror: half as much to learn, but
            it must be told the side.
        sigma_reparam: Linear layers are sigma-reparameterised.
        position_embedding: First generation only: patches know where they are.
        object_classes: Names of the objects that can be told apart.
        attention: One of ``ATTENTION_KINDS``.
        checkpointing: Activations of transformer layers are computed again in the backward pass.
    """

    generation: str = "transformer"
    image_size: int = 224
    patch_size: int = 14
    hidden: int = 384
    layers: int = 12
    heads: int = 6
    taps: tuple[int, ...] = (3, 6, 9, 12)
    prior_width: int = 32
    width: int = 384
    decoder_layers: int = 2
    decoder_heads: int = 6
    frame_width: int = 256
    refine_steps: int = 2
    hand_frames: str = "local"
    pretrained: str = ""
    frozen_layers: int = -1
    mirror_left: bool = False
    sigma_reparam: bool = True
    position_embedding: bool = True
    object_classes: tuple[str, ...] = YCB_CLASSES
    attention: str = "auto"
    checkpointing: bool = False

    def __post_init__(self):
        for name in ("taps", "object_classes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _one_of("generation", self.generation, GENERATIONS)
        _one_of("attention", self.attention, ATTENTION_KINDS)
        _one_of("hand_frames", self.hand_frames, HAND_FRAMES)
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size must be a multiple of patch_size, "
                f"got {self.image_size} and {self.patch_size}"
            )
        for wide, many in (("hidden", "heads"), ("width", "decoder_heads")):
            if getattr(self, wide) % getattr(self, many):
                raise ValueError(
                    f"{wide} must be a multiple of {many}, "
                    f"got {getattr(self, wide)} and {getattr(self, many)}"
                )
        if not self.taps or list(self.taps) != sorted(set(self.taps)):
            raise ValueError(f"taps must be rising layer numbers, got {self.taps}")
        if not 1 <= self.taps[0] <= self.taps[-1] <= self.layers:
            raise ValueError(f"taps must lie within 1 and {self.layers}, got {self.taps}")
        if self.prior_width < 0 or self.prior_width % 8:
            raise ValueError(f"prior_width must be 0 or a multiple of 8, got {self.prior_width}")
        if self.generation == "convolutional" and not self.prior_width:
            raise ValueError("a convolutional network needs a prior_width, got 0")
        if self.refine_steps < 0:
            raise ValueError(f"refine_steps must be 0 or more, got {self.refine_steps}")
        if not -1 <= self.frozen_layers <= self.layers:
            raise ValueError(
                f"frozen_layers must lie within -1 and {self.layers}, got {self.frozen_layers}"
            )

    @property
    def grid(self) -> int:
        """Patches along each side of the image."""
        return self.image_size // self.patch_size

    def to_dict(self) -> dict:
        """Plain values, as a checkpoint or a YAML file holds them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict) -> "ModelConfig":
        """The inverse of :meth:`to_dict`; ``ValueError`` names what is unknown."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown model settings {unknown}; there are {', '.join(known)}")
        return cls(**values)


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


PRESETS = {
    # For tests: runs and trains on two CPU cores.
    "tiny": ModelConfig(
        patch_size=28,
        hidden=96,
        layers=4,
        heads=4,
        taps=(1, 2, 3, 4),
        prior_width=8,
        width=96,
        decoder_layers=1,
        decoder_heads=4,
        frame_width=32,
    ),
    # DINOv2-S/14, 22 M parameters.
    "small": ModelConfig(decoder_layers=1, frame_width=128),
    # DINOv2-B/14, 86 M.
    "base": ModelConfig(hidden=768, heads=12, width=768, decoder_layers=3, decoder_heads=12),
    # DINOv2-L/14, 304 M; fused 1024 wide from layers 6, 12, 18 and 24.
    "large": ModelConfig(
        hidden=1024,
        layers=24,
        heads=16,
        taps=(6, 12, 18, 24),
        width=1024,
        decoder_layers=3,
        decoder_heads=16,
    ),
}


def preset(name: str, **changes) -> ModelConfig:
    """A preset by name, with some fields changed."""
    _one_of("preset", name, tuple(PRESETS))
    return replace(PRESETS[name], **changes)
