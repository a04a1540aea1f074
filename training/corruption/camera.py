"""The noise of digital cameras: sensor noise, processed as in a camera and compressed as JPEG.

Each processing step is one method, in the order from sensor to file. The steps transform the noise only, so that the
clean image remains the target of training.
"""

from typing import Literal

import torch
from torch import Generator, Tensor

from training.corruption.pictures import PictureNoise
from training.imaging import mosaic
from training.imaging.colour import (
    apply_matrix,
    linear_to_srgb,
    luma,
    rgb_to_ycc,
    srgb_to_linear,
    tone,
    ycc_to_rgb,
)
from training.imaging.compression import jpeg_round_trip
from training.imaging.draws import chance, choice, log_uniform, normal, uniform
from training.imaging.smoothing import blur, resize
from training.schema import Probability, Range

_READ_SLOPE, _READ_OFFSET, _READ_SPREAD = 2.18, 1.20, 0.26
"""log read = 2.18 log shot + 1.20 + N(0, 0.26), fitted by Brooks et al. (2019) to the cameras of the DND data set."""


class Camera(PictureNoise):
    """Noise of a digital camera as it appears in the JPEG file.

    The model follows Brooks et al., "Unprocessing images for learned raw denoising" (CVPR 2019): it converts the image
    to linear sensor values, adds noise there, and applies the camera's processing again. Demosaicing and JPEG follow
    CBDNet (Guo et al., CVPR 2019), resizing and repeated JPEG follow SCUNet (Zhang et al., 2022).
    """

    kind: Literal["camera"] = "camera"
    shot: Range = (1e-4, 0.012)
    """Shot noise: variance divided by signal, in linear light. Drawn log-uniformly. The variance of the noise is
    shot * signal + read (Foi et al., 2008), where read depends on shot by the regression of Brooks et al. (2019)."""
    exposure: Range = (1.0, 1.6)
    """Gain that is applied to all channels after the sensor."""
    white_balance: Range = (1.1, 2.2)
    """Gains of red and of blue relative to green, drawn independently. They amplify the noise of both channels."""
    crosstalk: Range = (0.0, 0.45)
    """Share of each other channel that the colour matrix subtracts; the range is close to the matrices in DNG files."""
    contrast: Range = (1.0, 1.4)
    """Contrast of the S-shaped tone curve on sRGB values; 1 leaves them unchanged."""
    rows: Probability = 0.1
    """Probability of noise that is constant along rows or columns of the sensor (Wei et al., ELD, CVPR 2020)."""
    full_colour: Probability = 0.15
    """Probability of no demosaicing, as in cameras that combine several sensor pixels into one pixel."""
    smoothing: Probability = 0.85
    """Probability that the camera smooths the noise; the smoothing is weaker at edges."""
    luma_sigma: Range = (0.2, 1.2)
    """Standard deviation in pixels of the smoothing of the luma."""
    chroma_sigma: Range = (0.5, 4.5)
    """Standard deviation in pixels of the smoothing of the chroma, which cameras smooth more."""
    chroma_left: Range = (0.4, 1.0)
    """Factor by which the chroma noise is multiplied after the smoothing."""
    sharpening: Probability = 0.35
    """Probability of an unsharp mask on the luma after the smoothing."""
    sharpening_amount: Range = (0.2, 0.9)
    """Strength of the unsharp mask: share of the detail that it adds."""
    resizing: Probability = 0.25
    """Probability that the noisy image is then resized."""
    scale: Range = (0.6, 1.6)
    """Size of the image at which the noise is added, relative to its final size. Drawn log-uniformly."""
    first_jpeg: Probability = 0.5
    """Probability of a JPEG compression in the camera, before the resizing."""
    first_quality: Range = (85.0, 99.0)
    """JPEG quality of the compression in the camera."""
    jpeg: Probability = 0.85
    """Probability of a JPEG compression at the end."""
    quality: Range = (65.0, 98.0)
    """JPEG quality of the compression at the end. Cameras use 85 to 98, websites 65 to 90."""

    def noisy(self, clean: Tensor, generator: Generator) -> Tensor:
        """Add noise at the size of the image, or at another size from which the noise is resized."""
        resized = chance(self.resizing, len(clean), generator).flatten()
        noise = torch.empty_like(clean)
        if not resized.all():
            noise[~resized] = self.noise(clean[~resized], generator)
        if resized.any():
            height, width = clean.shape[2:]
            scale = float(log_uniform(self.scale, 1, generator))
            cubic = bool(chance(0.5, 1, generator))
            other = resize(clean[resized], max(8, round(height * scale)), max(8, round(width * scale))).clamp(0, 1)
            noise[resized] = resize(self.noise(other, generator), height, width, cubic=cubic)
        return clean + noise

    def noise(self, clean: Tensor, generator: Generator) -> Tensor:
        """Return the noise of images N,3,H,W in sRGB after the processing in the camera: N,3,H,W."""
        noise = self._developed(clean, generator)
        noise = self._smoothed(noise, clean, generator)
        noise = self._sharpened(noise, generator)
        compressed = chance(self.first_jpeg, len(clean), generator).flatten()
        if compressed.any():
            grey = (clean[compressed] == clean[compressed, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
            picture = (clean + noise)[compressed]
            picture = torch.where(grey, luma(picture), picture)
            noise[compressed] = jpeg_round_trip(picture, self.first_quality, generator) - clean[compressed]
        return noise

    def _developed(self, clean: Tensor, generator: Generator) -> Tensor:
        """Return sensor noise in sRGB, after demosaicing, white balance, colour matrix and tone curve."""
        count = len(clean)
        contrast = uniform(self.contrast, count, generator)
        linear = srgb_to_linear(tone(clean, 1 / contrast))
        gains = torch.ones(count, 3, 1, 1)
        gains[:, 0::2] = uniform(self.white_balance, 2 * count, generator).view(count, 2, 1, 1)
        gains *= uniform(self.exposure, count, generator)
        matrices = _colour_matrices(self.crosstalk, count, generator)
        balanced = apply_matrix(linear, torch.linalg.inv(matrices))  # sensor values times the gains
        noise = self._sensor_noise(balanced / gains, generator) * gains
        noise = self._demosaiced(noise, balanced, generator)
        noise = apply_matrix(noise, matrices)
        return tone(linear_to_srgb(noise.add_(linear)), contrast).sub_(clean)

    def _sensor_noise(self, raw: Tensor, generator: Generator) -> Tensor:
        """Return shot and read noise, with row or column noise in some of the images."""
        count, _, height, width = raw.shape
        shot = log_uniform(self.shot, count, generator)
        spread = torch.randn(count, 1, 1, 1, generator=generator) * _READ_SPREAD
        read = (shot.log() * _READ_SLOPE + _READ_OFFSET + spread).exp()
        noise = normal(raw, generator).mul_((shot * raw.clamp(min=0) + read).sqrt_())
        across = torch.randn(count, 1, height, 1, generator=generator)
        down = torch.randn(count, 1, 1, width, generator=generator)
        lines = torch.where(chance(0.7, count, generator), across, down)
        strength = uniform((0.1, 0.6), count, generator) * chance(self.rows, count, generator)
        return noise + lines * strength * read.sqrt()

    def _demosaiced(self, noise: Tensor, balanced: Tensor, generator: Generator) -> Tensor:
        """Return the noise after one of three demosaicing methods, or unchanged for cameras without demosaicing."""
        mosaiced = 1 - self.full_colour
        which = choice([self.full_colour, 0.3 * mosaiced, 0.3 * mosaiced, 0.4 * mosaiced], len(noise), generator)
        sites = mosaic.bayer_sites(noise, generator)
        sampled, guide = mosaic.sample(noise, sites), mosaic.sample(balanced, sites)
        result = noise.clone()
        for number, method in enumerate((mosaic.bilinear, mosaic.malvar), start=1):
            chosen = which == number
            if chosen.any():
                result[chosen] = method(sampled[chosen], sites[chosen])
        chosen = which == 3
        if chosen.any():
            noisy = (guide + sampled)[chosen].clamp(min=0).sqrt()  # gradients on a perceptual scale
            result[chosen] = mosaic.edge_directed(sampled[chosen], sites[chosen], noisy)
        return result

    def _smoothed(self, noise: Tensor, clean: Tensor, generator: Generator) -> Tensor:
        """Return the noise after the noise reduction of the camera, weaker at edges and stronger in the chroma."""
        count = len(noise)
        smoothed = chance(self.smoothing, count, generator)
        luma_sigma = uniform(self.luma_sigma, count, generator) * smoothed
        chroma_sigma = uniform(self.chroma_sigma, count, generator) * smoothed
        kept = _edges(clean) * uniform((0.0, 1.0), count, generator)
        ycc = rgb_to_ycc(noise)
        y, chroma = ycc[:, :1], ycc[:, 1:]
        y = torch.lerp(blur(y, luma_sigma), y, kept)
        left = torch.where(smoothed, uniform(self.chroma_left, count, generator), 1.0)
        chroma = blur(chroma, chroma_sigma) * left
        return ycc_to_rgb(torch.cat([y, chroma], 1))

    def _sharpened(self, noise: Tensor, generator: Generator) -> Tensor:
        """Return the noise after an unsharp mask on the luma."""
        count = len(noise)
        amount = uniform(self.sharpening_amount, count, generator) * chance(self.sharpening, count, generator)
        sigma = uniform((0.6, 1.5), count, generator)
        y = luma(noise)
        return noise + amount * (y - blur(y, sigma))


def _colour_matrices(crosstalk: tuple[float, float], count: int, generator: Generator) -> Tensor:
    """Return matrices from camera colours to sRGB, with rows that sum to 1 and negative other entries: N,3,3."""
    others = uniform(crosstalk, 9 * count, generator).view(count, 3, 3) * (1 - torch.eye(3))
    return torch.diag_embed(1 + others.sum(2)) - others


def _edges(clean: Tensor) -> Tensor:
    """Return the strength of the edge at each pixel, in 0..1: N,1,H,W."""
    y = luma(clean)
    sigma = torch.full((len(clean), 1, 1, 1), 1.0)
    change = (y - blur(y, sigma)).abs()
    change = blur(change, sigma)
    return change / (change + 0.02)
