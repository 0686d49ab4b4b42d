"""The tokens of a checkpoint's own tokenizer."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from sentiformer.console.progress import progress
from sentiformer.core.files import read_json, reading
from sentiformer.text.corpus import Block, Corpus, nonempty_corpus, write_corpus
from sentiformer.text.tokenizer import BLOCK_TEXTS, read_blocks
from sentiformer.text.truncation import truncate

FILE = "tokenizer.json"
MASKS = ("[MASK]", "<mask>")  # the names of the token that hides a word


class EncoderTokenizer:
    """Splits texts into the tokens of a checkpoint, which stage `made_by` wrote to `folder`.

    Attributes:
        padding: the id of padding.
        mask: the id that hides a word in the checkpoint's pretraining; or else that of padding.
        added: the number of tokens that are added to a text, at its start and its end.

    Raises:
        UserError: a file is missing or corrupt.
    """

    def __init__(self, folder: Path, *, made_by: str = "encoder") -> None:
        from tokenizers import Tokenizer

        path = folder / FILE
        with reading(path, made_by, Exception):
            self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        ends = self._tokenizer.encode("").ids
        text = self._tokenizer.encode("a")
        first = text.special_tokens_mask.index(0)
        self._start, self._end = ends[:first], ends[first:]
        self.added = len(ends)
        self.padding: int = read_json(folder / "source.json", made_by=made_by)["padding"]
        masks = filter(None, map(self._tokenizer.token_to_id, MASKS))
        self.mask: int = next(masks, self.padding)

    def __call__(self, texts: Iterable[str]) -> list[np.ndarray]:
        """The ids of all tokens of each text, int32, without those at start and end."""
        lines = [text.replace("<br />", " ") for text in texts]
        found = self._tokenizer.encode_batch_fast(lines, add_special_tokens=False)
        return [np.array(text.ids, dtype=np.int32) for text in found]

    def framed(self, ids: np.ndarray, max_len: int) -> np.ndarray:
        """The ids that the encoder reads, int64: of a long text its beginning and its end."""
        kept = truncate(ids, max_len - self.added)
        return np.concatenate([self._start, kept, self._end]).astype(np.int64)

    def spans(self, text: str, max_len: int) -> np.ndarray:
        """Where each id that the encoder reads begins and ends in a text, (T, 2).

        In the text, line-break tags are replaced by spaces. A token that the text does not have,
        such as those at start and end, has an empty span.
        """
        found = self._tokenizer.encode(text, add_special_tokens=False).offsets
        kept = truncate(np.array(found, dtype=np.int64).reshape(-1, 2), max_len - self.added)
        return np.pad(kept, ((len(self._start), len(self._end)), (0, 0)))

    def tokenize(self, raw: Path, split: str, folder: Path) -> Corpus:
        """Write the tokens of a split of `raw` to `folder`, and map them into memory.

        Raises:
            UserError: the file is missing, corrupt or empty.
        """

        def blocks() -> Iterator[Block]:
            for texts, labels in read_blocks(raw / f"{split}.parquet"):
                ids = self(texts)
                yield Block(np.concatenate(ids), np.array([len(text) for text in ids]), labels)

        rows = read_json(raw / "dataset.json", made_by="download")["splits"][split]["rows"]
        what = f"the encoder's tokens of {split}, blocks of texts"
        path = folder / f"{split}.arrow"
        write_corpus(path, progress(blocks(), total=-(-rows // BLOCK_TEXTS), what=what))
        return nonempty_corpus(path)
