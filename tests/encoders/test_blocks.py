import pytest
import torch
import torch.nn.functional as F

from tscl.encoders import DilatedConvEncoder
from tscl.encoders.blocks import DilatedConv


def plain(conv, x):
    """The same layer as autograd and autocast do it."""
    width = conv.conv.kernel_size[0] // 2 * conv.dilation
    left, right = (2 * width, 0) if conv.causal else (width, width)
    return F.conv1d(F.pad(F.gelu(x), (left, right)), conv.conv.weight, conv.conv.bias, dilation=conv.dilation)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=["fp32 input", "bf16 input"])
def test_under_autocast_value_and_gradients_are_those_of_the_plain_layer(kind, causal):
    torch.manual_seed(0)
    conv = DilatedConv(4, 6, 3, dilation=2, causal=causal)
    x = torch.randn(3, 4, 20).to(kind).requires_grad_()
    said = []
    for layer in (conv, lambda x: plain(conv, x)):
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
        said.append((y, *torch.autograd.grad(y, [x, *conv.parameters()], weight)))
    ours, theirs = said
    assert ours[0].dtype == torch.bfloat16
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-2)  # one unit in the last place of bfloat16


def test_double_weights_stay_double_under_autocast():
    conv = DilatedConv(2, 3, 3, dilation=1).double()
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(torch.randn(1, 2, 9, dtype=torch.float64, requires_grad=True)).dtype == torch.float64


def kept_bytes(run):
    """The bytes that are kept for the backward pass, every storage once."""
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = run()
    return sum(kept.values()), result


def test_bfloat16_keeps_half_of_what_single_precision_keeps():
    encoder = DilatedConvEncoder(2, dim=32, hidden=16, depth=6, dropout=0.0)
    x = torch.randn(16, 2, 128)
    single, _ = kept_bytes(lambda: encoder(x))
    with torch.autocast("cpu", torch.bfloat16):
        half, z = kept_bytes(lambda: encoder(x))
    assert z.dtype == torch.bfloat16
    assert half < 0.55 * single


def test_the_activation_is_not_kept():
    conv = DilatedConv(8, 8, 3, dilation=1)
    x = torch.randn(16, 8, 64, requires_grad=True)
    for enabled, width in ((False, 4), (True, 2)):
        given = x.to(torch.bfloat16 if enabled else torch.float32)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            kept, _ = kept_bytes(lambda given=given: conv(given))
        assert kept <= width * (x.numel() + conv.conv.weight.numel())
