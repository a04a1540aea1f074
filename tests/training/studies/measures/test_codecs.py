"""Codecs of the studies: pictures are decoded from the counted bytes."""

import numpy as np
import pytest

from tests.support.training import SIDE, pictures
from training.data import Items
from training.export.code_tables import Symbols
from training.loop.batches import as_tensor
from training.nets.compressive import CompressiveSection
from training.studies.base.rate_distortion import psnr_at
from training.studies.measures.anomaly import percentiles
from training.studies.measures.codecs import FileKind, SymbolCodec, file_codec, fit_pca, net_codec

TRAIN, TEST = pictures(400), pictures(50, seed=1)


def test_finer_pca_steps_increase_bytes_and_quality() -> None:
    components = fit_pca(TRAIN)
    sizes, qualities = zip(
        *(components.codec(step).round_trip(TEST).point(TEST) for step in (1.0, 0.3, 0.1)), strict=True
    )
    assert list(sizes) == sorted(sizes)
    assert list(qualities) == sorted(qualities)
    assert qualities[-1] > 25


def test_new_net_equals_the_pca_codec() -> None:
    net = (
        CompressiveSection(code=SIDE * SIDE, hidden=[8], quantization_step=0.1, output="linear")
        .build((1, SIDE, SIDE))
        .eval()
    )
    net.init_from_data(as_tensor(TRAIN))
    coded = net_codec(net, TRAIN).round_trip(TEST)
    expected = fit_pca(TRAIN).codec(0.1).round_trip(TEST)
    assert coded.mean_bytes == pytest.approx(expected.mean_bytes, rel=0.05)
    assert coded.point(TEST)[1] == pytest.approx(expected.point(TEST)[1], abs=0.5)


def identity(items: Items) -> Symbols:
    return items.reshape(len(items), -1).astype(np.int32)


def test_symbols_out_of_range_are_clipped_and_counted() -> None:
    dark = TRAIN // 8
    codec = SymbolCodec(dark, identity, lambda symbols: symbols / 255)
    assert codec.round_trip(dark[:20]).clipped_share == 0
    assert np.array_equal(codec.round_trip(dark[:20]).pictures, dark[:20])
    bright = codec.round_trip(TEST)
    assert bright.clipped_share == np.mean(codec.coder.max_symbol < TEST) > 0
    assert bright.pictures.max() == codec.coder.max_symbol


def test_failed_symbol_round_trip_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = SymbolCodec(TRAIN, identity, lambda symbols: symbols / 255)
    monkeypatch.setattr(codec.coder, "encode", lambda symbols: [b""] * len(symbols))
    with pytest.raises(ValueError, match="differ"):
        codec.round_trip(TEST)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_decoded_files_keep_the_picture_shape(kind: FileKind) -> None:
    for items in (TEST, TEST.repeat(3, 3)):
        coarse, fine = (file_codec(kind, quality, items) for quality in (5, 90))
        assert fine.pictures.shape == items.shape
        assert coarse.mean_bytes < fine.mean_bytes
        assert coarse.point(items)[1] < fine.point(items)[1]


def test_psnr_is_interpolated_over_log_bytes() -> None:
    assert psnr_at([[100.0, 30.0], [25.0, 20.0]], 50) == pytest.approx(25)


def test_percentiles_equal_the_service() -> None:
    known = np.linspace(0, 1, 101)
    assert percentiles(np.array([0.0, 0.505, 2.0]), list(known)).tolist() == pytest.approx([0, 50.5, 100])
