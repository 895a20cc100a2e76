"""A network from its config."""

from dataclasses import replace

from manip_model.config import ModelConfig
from manip_model.convolutional import ConvolutionalNetwork
from manip_model.first_generation import VideoManipulationTransformer
from manip_model.hand_model import HandModel, load_hand_model
from manip_model.hand_network import HandNetwork
from manip_model.transformer import ManipulationTransformer


def build_model(config: ModelConfig, hand_model: HandModel | None = None) -> HandNetwork:
    """The network of ``config.generation`` with fresh weights (pretrained ones in the backbone
    where the config names them).

    Args:
        config: Sizes and switches.
        hand_model: The hand it speaks of; None: MANO where the user has it, else the open hand.
    """
    hand_model = hand_model or load_hand_model()
    if config.generation == "first_generation":
        return VideoManipulationTransformer(
            replace(config, refine_steps=0, prior_width=0), hand_model
        )
    if config.generation == "convolutional":
        return ConvolutionalNetwork(replace(config, refine_steps=0), hand_model)
    return ManipulationTransformer(config, hand_model)
