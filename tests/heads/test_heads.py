import pytest
import torch

from tscl import functional as F
from tscl import losses
from tscl.heads import (
    GlobalHead,
    GroupHead,
    Head,
    HierarchicalHead,
    LocalHead,
    ObservationHead,
    ProjectionHead,
    SampleHead,
)

Z1, Z2 = torch.randn(2, 6, 4, 8, generator=torch.Generator().manual_seed(0))
LEVELS = {"trial": torch.tensor([0, 0, 1, 1, 2, 2]), "site": torch.tensor([0, 0, 0, 1, 1, 1])}
CASES = [
    (ObservationHead(), lambda: F.observation_contrast(Z1, Z2, multiscale=True)),
    (ObservationHead(multiscale=False), lambda: F.observation_contrast(Z1, Z2)),
    (SampleHead(), lambda: F.sample_contrast(Z1, Z2, multiscale=True)),
    (GroupHead("trial"), lambda: F.group_contrast(Z1, Z2, LEVELS["trial"])),
    (GroupHead("site", temperature=0.5), lambda: F.group_contrast(Z1, Z2, LEVELS["site"], 0.5)),
    (GlobalHead(temperature=0.3), lambda: F.global_info_nce(Z1.amax(2), Z2.amax(2), 0.3)),
    (LocalHead(segments=4), lambda: (F.local_info_nce(Z1, 4) + F.local_info_nce(Z2, 4)) / 2),
    (HierarchicalHead(alpha=0.3, temporal_unit=1), lambda: F.hierarchical_contrast(Z1, Z2, 0.3, 1)),
]


@pytest.mark.parametrize(("head", "expected"), CASES, ids=lambda case: type(case).__name__)
def test_a_head_scores_its_level(head, expected):
    assert head(Z1, Z2, LEVELS) == expected()


def test_projection_head_contrasts_the_pooled_windows():
    head = ProjectionHead(dim=4, projection=3, temperature=0.2)
    project = [head.project(z.amax(2)) for z in (Z1, Z2)]
    torch.testing.assert_close(head(Z1, Z2, {}), F.nt_xent(*project, 0.2))


def test_what_heads_say_of_themselves():
    head = GroupHead("site", view="clean", weight=0.7)
    assert head.needs_ids
    assert not SampleHead().needs_ids
    assert (head.level, head.view, head.weight) == ("site", "clean", 0.7)
    assert "level='site'" in repr(head)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="weight of the trial head is -1"):
        GroupHead("trial", weight=-1)


def test_every_public_head_and_loss_has_a_row_here():
    import tscl.heads

    tested = {type(head).__name__ for head, _ in CASES} | {"ProjectionHead", "Head"}
    assert set(tscl.heads.__all__) == tested
    assert issubclass(ProjectionHead, Head)
    assert set(losses.__all__) == {
        "ClipLoss",
        "GlobalInfoNCE",
        "GroupLoss",
        "HierarchicalLoss",
        "LocalInfoNCE",
        "NTXentLoss",
        "ObservationLoss",
        "RegressionLoss",
        "SampleLoss",
        "SigLipLoss",
    }
