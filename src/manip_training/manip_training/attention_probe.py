"""How widely a network's attention spreads, layer by layer.

Entropy near zero means that a head looks at one place whatever it is asked; the collapse that
sigma-reparameterisation is against (Zhai et al. 2023) begins there.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from manip_model.attention import Attention
from manip_model.pose_network import PoseNetwork
from manip_training.collapse import attention_entropy


@contextmanager
def kept_weights(model: PoseNetwork) -> Iterator[dict[str, Tensor]]:
    """While it lasts, forward passes fill the dictionary with ``(B, H, Q, K)`` weights by layer.

    Attention runs eagerly meanwhile, for fused kernels do not hand out their weights.
    """
    found: dict[str, Tensor] = {}

    def keep(name):
        def hook(_module, _args, out):
            weights = out[1] if isinstance(out, tuple) else _module.weights
            if weights is not None:
                found[name] = weights.detach()

        return hook

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, Attention):
                module.keep_weights = True
                stack.callback(setattr, module, "keep_weights", False)
                stack.callback(setattr, module, "weights", None)
                stack.callback(module.register_forward_hook(keep(name)).remove)
        if backbone := getattr(model, "backbone", None):
            before = backbone.dino.config._attn_implementation
            backbone.dino.set_attn_implementation("eager")
            stack.callback(backbone.dino.set_attn_implementation, before)
            for number, layer in enumerate(backbone.dino.encoder.layer):
                # Some versions of transformers have it one level down.
                layer = getattr(layer.attention, "attention", layer.attention)
                hook = layer.register_forward_hook(keep(f"backbone.{number}"))
                stack.callback(hook.remove)
        yield found


@torch.no_grad()
def attention_entropies(model: PoseNetwork, image: Tensor, camera: Tensor) -> dict[str, float]:
    """Mean entropy of each attention layer's heads, 0 (one place) to 1 (everywhere alike).

    Args:
        model: Not compiled; its mode is kept.
        image, camera: A few crops, as the model takes them.
    """
    with kept_weights(model) as weights:
        model(image, camera)
    return {name: float(attention_entropy(w.float()).mean()) for name, w in weights.items()}
