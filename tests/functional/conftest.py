import pytest

from tscl.functional import tiles


@pytest.fixture(scope="module", autouse=True, params=[tiles.TILE_ELEMENTS["cpu"], 6], ids=["whole", "tiles"])
def tile(request):
    """Every test of this folder runs with similarities in one piece and in tiles of two by two or so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tiles.TILE_ELEMENTS, "cpu", request.param)
        yield request.param
