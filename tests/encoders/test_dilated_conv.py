import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tscl.encoders import DilatedConvEncoder, encode_pair, load_encoder, save_encoder
from tscl.encoders.base import Encoder, split_missing
from tscl.errors import ConfigError, DataError, DataNotFoundError
from tscl.types import View


def obvious(encoder, x):
    """The same network with plain convolutions of full kernels and full padding."""
    h = encoder.stem(x)
    for block in encoder.blocks:
        out = h
        for part in (block.conv1, block.conv2):
            width = part.conv.kernel_size[0] // 2 * part.dilation
            out = F.conv1d(F.gelu(out), part.conv.weight, part.conv.bias, padding=width, dilation=part.dilation)
        h = out + block.projector(h)
    return h


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_values_and_gradients_equal_the_obvious_network(steps, kernel_size):
    torch.manual_seed(0)
    encoder = DilatedConvEncoder(3, dim=5, hidden=4, depth=4, kernel_size=kernel_size, dropout=0.0).double()
    x = torch.randn(2, 3, steps, dtype=torch.float64)
    ours, theirs = encoder(x), obvious(encoder, x)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    parameters = list(encoder.parameters())
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), parameters),
        torch.autograd.grad((theirs * weight).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_an_input_that_needs_a_gradient_gets_the_right_one():
    encoder = DilatedConvEncoder(2, dim=3, hidden=4, depth=2, dropout=0.0).double()
    x = torch.randn(1, 2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(encoder, (x,))


def test_a_pair_that_differs_by_dropout_is_one_pass_with_two_masks():
    torch.manual_seed(0)
    encoder = DilatedConvEncoder(2, dim=6, hidden=4, depth=2, dropout=0.5)
    calls = []
    encoder.blocks.register_forward_hook(lambda *_: calls.append(1))
    view = View(torch.randn(3, 2, 20))
    z1, z2 = encode_pair(encoder, view, view)
    assert len(calls) == 1
    assert not torch.equal(z1, z2)
    features = encoder.features(view.x)
    for z in (z1, z2):
        kept = z != 0
        torch.testing.assert_close(z[kept], 2 * features[kept])
        assert 0.3 < kept.float().mean() < 0.7


@pytest.mark.parametrize("p", [1e-6, 0.1, 0.9])
def test_dropout_keeps_its_share_and_the_mean(p):
    torch.manual_seed(0)
    y = Encoder(3, dropout=p).output_dropout(torch.ones(401, 503))
    assert abs(float((y == 0).float().mean()) - p) < 4e-3
    assert float(y.mean()) == pytest.approx(1, abs=0.02)
    assert len(y.unique()) <= 2


def test_dropout_gradient_follows_its_mask():
    torch.manual_seed(0)
    dropout = Encoder(3, dropout=0.375).output_dropout
    x = torch.randn(50, requires_grad=True)
    y = dropout(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, torch.where(y == 0, 0.0, 1 / 0.625))
    dropout.eval()
    assert dropout(x) is x


def test_views_are_cut_to_the_stretch_they_share():
    encoder = DilatedConvEncoder(1, dim=3, hidden=4, depth=1, dropout=0.0)
    x = torch.randn(2, 1, 30)
    first, second = View(x[:, :, :20], span=(8, 20)), View(x[:, :, 8:], span=(0, 12))
    z1, z2 = encode_pair(encoder, first, second)
    assert z1.shape == z2.shape == (2, 3, 12)
    torch.testing.assert_close(z1, encoder(first.x)[:, :, 8:])


def test_any_module_can_be_the_encoder():
    class Plain(nn.Module):
        def forward(self, x, mask=None, sensors=None):
            return x.repeat(1, 2, 1)

    view = View(torch.randn(2, 3, 5))
    z1, z2 = encode_pair(Plain(), view, view)
    assert z1.shape == z2.shape == (2, 6, 5)


def test_missing_values():
    x = torch.ones(3, 2, 4)
    x[0, 1] = torch.nan
    x[1, 0, 2] = torch.nan
    x[2] = torch.nan
    filled, keep = split_missing(x)
    assert keep.tolist() == [[True] * 4, [True, True, False, True], [False] * 4]
    assert filled[0].tolist() == [[1] * 4, [0] * 4]
    assert filled[1].tolist() == [[1, 1, 0, 1], [1, 1, 0, 1]]
    assert not filled.isnan().any()
    encoder = DilatedConvEncoder(2, dim=3, hidden=4, depth=2)
    z = encoder(x)
    z.sum().backward()
    assert torch.isfinite(z).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_a_mask_hides_time_steps_behind_the_stem():
    encoder = DilatedConvEncoder(1, dim=3, hidden=4, depth=2, dropout=0.0)
    x, mask = torch.randn(2, 1, 9), torch.ones(2, 9, dtype=torch.bool)
    mask[:, 4] = False
    other = x.clone()
    other[:, :, 4] += 5
    torch.testing.assert_close(encoder(x, mask), encoder(other, mask))
    assert not torch.allclose(encoder(x), encoder(other))
    torch.testing.assert_close(encoder(x, mask), encoder(x, mask[:, None].expand(2, 4, 9)))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    encoder = DilatedConvEncoder(2, dim=3, hidden=4, depth=2).eval()
    save_encoder(encoder, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"encoder.safetensors", "encoder.json"}
    x = torch.randn(2, 2, 10)
    torch.testing.assert_close(load_encoder(tmp_path).eval()(x), encoder(x))


def test_storage_errors(tmp_path):
    with pytest.raises(DataNotFoundError, match="holds no saved encoder"):
        load_encoder(tmp_path)
    save_encoder(nn.Linear(2, 3), tmp_path)
    with pytest.raises(ConfigError, match="has no config"):
        load_encoder(tmp_path)
    assert load_encoder(tmp_path, nn.Linear(2, 3)).weight.shape == (3, 2)
    with pytest.raises(DataError, match="do not fit"):
        load_encoder(tmp_path, nn.Linear(5, 3))
    (tmp_path / "encoder.safetensors").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="damaged"):
        load_encoder(tmp_path, nn.Linear(2, 3))
    (tmp_path / "encoder.json").write_text('{"class_path": "os.system", "init_args": {}}')
    save_encoder(DilatedConvEncoder(1, 2, 2, 1), tmp_path)
    (tmp_path / "encoder.json").write_text('{"class_path": "os.system", "init_args": {}}')
    with pytest.raises(ConfigError, match="is not a torch module"):
        load_encoder(tmp_path)


def test_wrong_input_is_refused():
    encoder = DilatedConvEncoder(2, dim=3, hidden=4, depth=1)
    with pytest.raises(ValueError, match="built for 2 channels"):
        encoder(torch.zeros(1, 3, 5))
    with pytest.raises(ValueError, match="odd number"):
        DilatedConvEncoder(2, kernel_size=4)
