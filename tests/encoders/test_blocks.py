import pytest
import torch
import torch.nn.functional as F

from tscl.encoders import CausalConvEncoder, DilatedConvEncoder
from tscl.encoders.blocks import ResidualBlock
from tscl.functional.tiles import TILE_ELEMENTS


def plain(block, x):
    """The same block as autograd and autocast do it."""
    out = x
    for layer in (block.conv1, block.conv2):
        width = layer.conv.kernel_size[0] // 2 * layer.dilation
        left, right = (2 * width, 0) if layer.causal else (width, width)
        padded = F.pad(F.gelu(out), (left, right))
        out = F.conv1d(padded, layer.conv.weight, layer.conv.bias, dilation=layer.dilation)
    return out + block.projector(x)


@pytest.mark.parametrize("dilation", [2, 16])  # outer taps of the second never see the 15 steps
@pytest.mark.parametrize("widths", [(4, 6), (4, 4)], ids=["projected", "identity"])
@pytest.mark.parametrize("causal", [False, True])
def test_value_and_gradients_are_those_of_the_plain_block(causal, widths, dilation):
    torch.manual_seed(0)
    block = ResidualBlock(*widths, 3, dilation, project=widths[0] != widths[1], causal=causal).double()
    x = torch.randn(3, 4, 15, dtype=torch.float64, requires_grad=True)
    ours, theirs = block(x), plain(block, x)
    weight = torch.randn_like(theirs)
    leaves = [x, *block.parameters()]
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(*(torch.autograd.grad(y, leaves, weight) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(block(x), theirs)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=["fp32 input", "bf16 input"])
def test_under_autocast_value_and_gradients_are_those_of_the_plain_block(kind, causal):
    torch.manual_seed(0)
    block = ResidualBlock(4, 6, 3, 2, project=True, causal=causal)
    x = torch.randn(3, 4, 20).to(kind).requires_grad_()
    said = []
    for layer in (block, lambda x: plain(block, x)):
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
        said.append((y, *torch.autograd.grad(y, [x, *block.parameters()], weight)))
    ours, theirs = said
    assert ours[0].dtype == torch.bfloat16
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        largest = float(b.detach().abs().max())
        torch.testing.assert_close(a / largest, b / largest, rtol=0, atol=2e-2)  # units in the last place


def test_double_weights_stay_double_under_autocast():
    block = ResidualBlock(2, 3, 3, 1, project=True).double()
    with torch.autocast("cpu", torch.bfloat16):
        assert block(torch.randn(1, 2, 9, dtype=torch.float64, requires_grad=True)).dtype == torch.float64


@pytest.mark.parametrize("kind", [DilatedConvEncoder, CausalConvEncoder])
def test_a_batch_that_is_trained_some_windows_at_a_time_gives_the_same(kind, monkeypatch):
    torch.manual_seed(0)
    encoder = kind(2, dim=6, hidden=4, depth=2, dropout=0.0).double()
    x, weight = torch.randn(7, 2, 10, dtype=torch.float64), torch.randn(7, 6, 10, dtype=torch.float64)
    seen = []
    encoder.blocks[0].register_forward_hook(lambda block, given, out: seen.append(len(out)))
    results = []
    for elements in (1 << 20, 2 * 4 * 10):
        monkeypatch.setitem(TILE_ELEMENTS, "cpu", elements)
        z = encoder(x)
        results.append([z, *torch.autograd.grad(z, list(encoder.parameters()), weight)])
    assert seen == [7, 2, 2, 2, 1]
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


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


def test_activations_are_not_kept():
    block = ResidualBlock(8, 8, 3, dilation=1, project=False)
    x = torch.randn(16, 8, 64, requires_grad=True)
    for enabled, width in ((False, 4), (True, 2)):
        given = x.to(torch.bfloat16 if enabled else torch.float32)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            kept, _ = kept_bytes(lambda given=given: block(given))
        assert kept <= width * 2 * (x.numel() + block.conv1.conv.weight.numel())
