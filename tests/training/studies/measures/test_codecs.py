"""Codecs that the studies measure: what comes out has been through the bytes, and costs what the bytes say."""

import numpy as np
import pytest

from tests.support.training import SIDE, pictures
from training.data import Items
from training.loop.batches import as_tensor
from training.nets.compressive import CompressiveSection
from training.studies.base.rate_distortion import psnr_at
from training.studies.measures.anomaly import percentiles
from training.studies.measures.codecs import FileKind, SymbolCodec, file_codec, fit_pca, net_codec
from training.studies.measures.range_coder import Symbols

TRAIN, TEST = pictures(400), pictures(50, seed=1)


def test_finer_steps_of_the_components_cost_bytes_and_bring_quality() -> None:
    components = fit_pca(TRAIN)
    sizes, qualities = zip(
        *(components.codec(step).round_trip(TEST).point(TEST) for step in (1.0, 0.3, 0.1)), strict=True
    )
    assert list(sizes) == sorted(sizes)
    assert list(qualities) == sorted(qualities)
    assert qualities[-1] > 25


def test_a_fresh_net_codes_as_its_components_do() -> None:
    net = (
        CompressiveSection(code=SIDE * SIDE, hidden=[8], quantization_step=0.1, output="linear")
        .build((1, SIDE, SIDE))
        .eval()
    )
    net.init_from_data(as_tensor(TRAIN))
    coded = net_codec(net, TRAIN).round_trip(TEST)
    wanted = fit_pca(TRAIN).codec(0.1).round_trip(TEST)
    assert coded.mean_bytes == pytest.approx(wanted.mean_bytes, rel=0.05)
    assert coded.point(TEST)[1] == pytest.approx(wanted.point(TEST)[1], abs=0.5)


def identity(items: Items) -> Symbols:
    return items.reshape(len(items), -1).astype(np.int32)


def test_what_lies_beyond_the_tables_is_moved_and_counted() -> None:
    dark = TRAIN // 8
    codec = SymbolCodec(dark, identity, lambda symbols: symbols / 255)
    assert codec.round_trip(dark[:20]).clipped_share == 0
    assert np.array_equal(codec.round_trip(dark[:20]).pictures, dark[:20])
    bright = codec.round_trip(TEST)
    assert bright.clipped_share == np.mean(codec.coder.max_symbol < TEST) > 0
    assert bright.pictures.max() == codec.coder.max_symbol


def test_bytes_that_do_not_give_the_symbols_back_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = SymbolCodec(TRAIN, identity, lambda symbols: symbols / 255)
    monkeypatch.setattr(codec.coder, "encode", lambda symbols: [b""] * len(symbols))
    with pytest.raises(ValueError, match="differ"):
        codec.round_trip(TEST)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_files_come_back_as_pictures_of_their_shape(kind: FileKind) -> None:
    for items in (TEST, TEST.repeat(3, 3)):
        coarse, fine = (file_codec(kind, quality, items) for quality in (5, 90))
        assert fine.pictures.shape == items.shape
        assert coarse.mean_bytes < fine.mean_bytes
        assert coarse.point(items)[1] < fine.point(items)[1]


def test_between_points_quality_follows_the_logarithm_of_the_bytes() -> None:
    assert psnr_at([[100.0, 30.0], [25.0, 20.0]], 50) == pytest.approx(25)


def test_percentiles_are_those_of_the_service() -> None:
    known = np.linspace(0, 1, 101)
    assert percentiles(np.array([0.0, 0.505, 2.0]), list(known)).tolist() == pytest.approx([0, 50.5, 100])
