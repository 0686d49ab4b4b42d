"""The nearest training texts, for a server that answers before they can be searched."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from sentiformer.console.output import say
from sentiformer.core.errors import UserError, first_line

if TYPE_CHECKING:
    from sentiformer.serving.model import Model
    from sentiformer.serving.similar import Neighbours


class NearestTexts:
    """The search of a model's training texts, which may need minutes of preparation.

    Args:
        model: reads the texts.
        data: the folder beside the model, which has the training texts.

    Attributes:
        found: searches the texts; None until it is ready.
        reason: why it is None.
        preparing: whether it may still become ready.
    """

    def __init__(self, model: "Model", data: Path) -> None:
        self.found: Neighbours | None = None
        self.reason = "the training texts are being read for the first time; try again later"
        self.preparing = True
        self._model, self._data = model, data

    def prepare(self, worker: Executor) -> Thread:
        """Begin to prepare the search; `worker` computes, between answers to requests."""
        thread = Thread(target=self._prepare, args=[worker])
        thread.start()
        return thread

    def _prepare(self, worker: Executor) -> None:
        from sentiformer.serving.similar import FOLDER, open_neighbours, train_texts

        def map_chunks(function: Callable[[Any], Any], chunks: Iterable[Any]) -> Iterator[Any]:
            return (worker.submit(function, chunk).result() for chunk in chunks)

        try:
            texts = train_texts(self._model, self._data / "raw")
            cache = self._data / FOLDER
            self.found = open_neighbours(self._model, texts, cache, map_chunks)
        except (CancelledError, RuntimeError):  # the server stops
            pass
        except (UserError, OSError, ModuleNotFoundError) as error:
            self.reason = f"there are no similar texts: {first_line(error)}"
            say(self.reason)
        finally:
            self.preparing = False
