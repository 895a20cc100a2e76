"""Which attention runs, what it says, and that all of them compute the same."""

import pytest
import torch

from manip_model.attention import Attention, Decoder, choose_attention
from manip_model.config import preset

CPU = torch.device("cpu")


def test_what_cannot_run_falls_back_and_says_so():
    kind, said = choose_attention("auto", CPU, torch.bfloat16)
    assert kind == "sdpa"
    assert "not flash_attention_3: it needs a CUDA device" in said
    kind, said = choose_attention("flash_attention_2", CPU, torch.float32)
    assert kind == "sdpa" and "flash_attention_2" in said and "flash_attention_3" not in said
    assert choose_attention("eager", CPU, torch.float32) == ("eager", "attention: eager")


@pytest.mark.parametrize(("three", "two", "chosen"), [(1, 1, 3), (0, 1, 2), (0, 0, 0)])
def test_the_best_that_is_there_is_chosen_on_a_gpu(monkeypatch, three, two, chosen):
    import transformers.utils as hub

    monkeypatch.setattr(hub, "is_flash_attn_3_available", lambda: bool(three))
    monkeypatch.setattr(hub, "is_flash_attn_2_available", lambda: bool(two))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    kind, _ = choose_attention("auto", torch.device("cuda"), torch.bfloat16)
    assert kind == (f"flash_attention_{chosen}" if chosen else "sdpa")
    kind, said = choose_attention("auto", torch.device("cuda"), torch.float32)
    assert kind == "sdpa" and "it needs bfloat16" in said


def test_an_unknown_kind_is_an_error():
    with pytest.raises(ValueError, match="must be one of auto, flash_attention_3"):
        choose_attention("flash", CPU, torch.float32)
    with pytest.raises(ValueError, match="got 'flash'"):
        preset("tiny", attention="flash")


def test_fused_and_eager_agree():
    torch.manual_seed(0)
    one = Attention(32, 4)
    x, context = torch.randn(2, 5, 32), torch.randn(2, 11, 32)
    fused = one(x, context)
    one.kind = "eager"
    assert torch.allclose(one(x, context), fused, atol=1e-6)
    one.keep_weights = True
    one(x, context)
    assert one.weights.shape == (2, 4, 5, 11)
    assert torch.allclose(one.weights.sum(-1), torch.ones(2, 4, 5))


def test_a_decoder_computed_again_has_the_same_gradients():
    torch.manual_seed(0)
    one = Decoder(32, 4, 2)
    x, context = torch.randn(2, 5, 32), torch.randn(2, 11, 32)
    one(x, context).square().sum().backward()
    plain = [p.grad.clone() for p in one.parameters()]
    one.zero_grad()
    one.checkpointing = True
    one(x, context).square().sum().backward()
    for p, grad in zip(one.parameters(), plain, strict=True):
        assert torch.allclose(p.grad, grad, atol=1e-6)
