"""The sections `encoder` and `finetune` of `params.yaml`."""

from pydantic import Field

from sentiformer.core.params import Name, Rate, Section


class EncoderParams(Section):
    """The pretrained encoder: `owner/name@commit` on the Hub, a folder, or None."""

    name: Name | None


class FinetuneParams(Section):
    """How the pretrained encoder is fine-tuned; if there is none, nothing is."""

    epochs: int = Field(gt=0, le=10_000)
    max_len: int = Field(ge=8, le=65_536)
    layers: int | None = Field(gt=0, le=1_000)
    frozen: int = Field(ge=0, le=1_000)
    learning_rate: float = Rate
    ensemble: bool
