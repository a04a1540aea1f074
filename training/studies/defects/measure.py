"""Fits the recipe `defects` to undamaged textures, and measures how well scratches and stains on others are found."""

from pathlib import Path

import numpy as np
from matplotlib.image import imsave

from training.data import Pixels
from training.evaluation.metrics import mse_per_item, run_in_batches
from training.studies.base.packing import pack
from training.studies.base.study import Results, Study
from training.studies.defects.baselines import NearestPatch, Pca
from training.studies.defects.figures import plot
from training.studies.defects.text import rows, summary
from training.studies.defects.textures import Texture, textures
from training.studies.measures.arrays import torch_operation
from training.studies.measures.error_maps import Floats, auroc, error_maps, pixel_auroc, region_overlap
from training.workspace import TrainedModel, Workspace

RECIPE, EPOCHS = "defects", 25
TRAINING_IMAGES, TEST_IMAGES, SEED = 400, 100, 7
COMPONENTS = (16, 32, 64)
"""Numbers of components of PCA; those with the best AUROC on the test images are reported, in favour of PCA."""
SHOWN = 4


def measure(workspace: Workspace) -> Results:
    """Fit a net to each texture; return the scores of nets and baselines, and images with their maps."""
    results: Results = {"textures": {}, "images": TRAINING_IMAGES, "tests": TEST_IMAGES}
    for name, texture in textures(TRAINING_IMAGES, TEST_IMAGES, SEED).items():
        trained = _fit(workspace, name, texture)
        results["textures"][name] = _measure_texture(trained, texture)
        results["parameters"] = trained.net.parameter_count()
        results["seed"] = trained.recipe.optimizer.seed
    return results


def _fit(workspace: Workspace, name: str, texture: Texture) -> TrainedModel:
    """Fit the recipe to a folder of training images, written as PNG."""
    folder = (workspace.runs / "defects-images" / name).absolute()
    write_images(folder, texture.train)
    changes = (f"data.path={folder}", "data.channels=1", f"optimizer.epochs={EPOCHS}", f"model.name=defects-{name}")
    return workspace.fit(RECIPE, *changes)


def write_images(folder: Path, images: Pixels) -> None:
    """Write grey images uint8 (N, H, W, 1) as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        imsave(folder / f"{number:04}.png", np.repeat(image, 3, 2))


def _measure_texture(trained: TrainedModel, texture: Texture) -> Results:
    """Return the scores of every method on one texture, and the first damaged images with their maps."""
    test, damaged = texture.test, texture.damaged.images
    run = torch_operation(trained.net, "reconstruct")
    outputs = [run_in_batches(run, items) for items in (test, damaged)]
    net = [error_maps(*pair) for pair in zip((test, damaged), outputs, strict=True)]
    errors = [mse_per_item(*pair) for pair in zip((test, damaged), outputs, strict=True)]
    nearest = NearestPatch(texture.train, SEED)
    patches = [nearest.maps(items) for items in (test, damaged)]
    random = np.random.default_rng(SEED)
    components = Pca(texture.train)
    scores = {
        "net": {**map_scores(net, texture), "mean": auroc(*errors)},
        "pca": max((_pca_scores(components, texture, count) for count in COMPONENTS), key=lambda one: one["image"]),
        "nearest patch": map_scores(patches, texture),
        "random": map_scores([random.random(items.shape[:3]) for items in (test, damaged)], texture),
    }
    shown = {"damaged": damaged[:SHOWN], "masks": texture.damaged.masks[:SHOWN]}
    maps = {"net": to_levels(net[1][:SHOWN]), "nearest patch": to_levels(patches[1][:SHOWN])}
    return {
        "scores": scores,
        "seconds": trained.result.seconds,
        "steps": trained.result.steps,
        "shown": {name: pack(images) for name, images in {**shown, **maps}.items()},
    }


def to_levels(maps: Floats) -> Pixels:
    """Return maps (N, H, W) as 8-bit levels, 255 for the largest value."""
    return np.rint(maps / maps.max() * 255).astype(np.uint8)


def _pca_scores(pca: Pca, texture: Texture, components: int) -> dict[str, float]:
    """Return the scores of PCA with so many components."""
    tested = (texture.test, texture.damaged.images)
    outputs = [pca.reconstruct(items, components) for items in tested]
    maps = [error_maps(*pair) for pair in zip(tested, outputs, strict=True)]
    errors = [mse_per_item(*pair) for pair in zip(tested, outputs, strict=True)]
    return {**map_scores(maps, texture), "mean": auroc(*errors), "components": components}


def map_scores(maps: list[Floats], texture: Texture) -> dict[str, float]:
    """Return the scores of maps of the test images and of the damaged ones, (N, H, W) each.

    `image` is the AUROC of the largest value of a map, `scratch` and `stain` that of one kind of defect; `pixel` is the
    AUROC of single pixels, `overlap` the area under the per-region overlap.
    """
    ordinary, damaged = (part.max((1, 2)) for part in maps)
    masks, scratched = texture.damaged.masks, texture.damaged.scratched
    return {
        "image": auroc(ordinary, damaged),
        "scratch": auroc(ordinary, damaged[scratched]),
        "stain": auroc(ordinary, damaged[~scratched]),
        "pixel": pixel_auroc(maps[0], maps[1], masks),
        "overlap": region_overlap(maps[0], maps[1], masks),
    }


STUDY = Study(
    name="defects",
    title="Scratches and stains",
    question="Trained on undamaged textures only, does the map of the error find scratches and stains?",
    command="hourglass-train fit defects --set data.path=FOLDER",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
