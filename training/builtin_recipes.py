"""The recipes that come with the package: their folder and their names. Imports neither pydantic nor torch."""

from pathlib import Path

RECIPES_FOLDER = Path(__file__).parent / "recipes"


def builtin_recipes() -> list[str]:
    """Return the names of the built-in recipes, sorted."""
    return sorted(path.stem for path in RECIPES_FOLDER.glob("*.toml"))


def builtin_recipe_path(name: str) -> Path:
    """Return the path of a built-in recipe, which need not exist."""
    return RECIPES_FOLDER / f"{name}.toml"
