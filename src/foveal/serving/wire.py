"""The JSON of every request and answer, in the words of the Python interface."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat

Mode = Literal["global", "late", "fused", "region"]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$", description="A picture's id in the index.")]
Text = Annotated[str, Field(min_length=1)]
Encoded = Annotated[str, Field(description="A picture in base64, with or without 'data:image/...;base64,' before it.")]


def _numbers(value: Any) -> Any:
    """Split '0.1,0.2,0.5,0.9' into four numbers: forms send text."""
    return value.strip("[]() ").split(",") if isinstance(value, str) else value


Box = Annotated[
    tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat],
    BeforeValidator(_numbers),
    Field(description="(x0, y0, x1, y1) in fractions of the picture."),
]


def _listed(value: Any) -> Any:
    """Return a text alone as a list of one: a form that names one thing sends no list."""
    return [value] if isinstance(value, str) else value


Names = Annotated[list[Text], BeforeValidator(_listed)]


class Request(BaseModel):
    """What a client sends. A field that is not known is refused: it would be ignored in silence."""

    model_config = ConfigDict(extra="forbid")


class SearchRequest(Request):
    """A search by text, by picture, by a box in a picture, or by text and picture together."""

    text: str = Field("", description="Words, a phrase or a long description.", examples=["a brown bear in water"])
    image: Encoded | None = None
    box: Box | None = None
    exclude: str = Field("", description="A text that hits should not fit.")
    where: str = Field("", max_length=4000, description="Filter over the index's columns.", examples=["width > 640"])
    k: int = Field(20, ge=1)
    mode: Mode = "fused"


class SimilarRequest(Request):
    """More like this: a picture of the index, or another."""

    id: Id | None = None
    image: Encoded | None = None
    k: int = Field(20, ge=1)


class ExplainRequest(Request):
    """Where in a picture of the index phrases are."""

    id: Id
    phrases: list[Text] = Field(min_length=1, fail_fast=True)


class DetectRequest(Request):
    """Boxes of what names say, in a picture that comes with the request."""

    image: Encoded | None = None
    names: Names = Field(min_length=1, fail_fast=True, examples=[["a red mug", "a dog"]])
    threshold: float = Field(0.0, ge=0, le=1, description="Least score.")
    k: int = Field(20, ge=1, description="Most boxes.")


class SegmentRequest(Request):
    """A name for every pixel of a picture that comes with the request."""

    image: Encoded | None = None
    names: Names = Field(min_length=1, fail_fast=True, examples=[["sky", "tree", "dog|puppy"]])
    background: Names = Field([], fail_fast=True, description="Names of what gets no label.")
    threshold: float = Field(0.0, ge=0, le=1, description="Pixels of less confidence get no label.")


class RankRequest(Request):
    """Texts and pictures, to be compared each with each."""

    texts: list[Text] = Field(min_length=1, fail_fast=True)
    pictures: list[str] = Field(
        min_length=1, fail_fast=True, description="Base64, data URLs, or URLs of allowed hosts."
    )


class ImageUrl(BaseModel):
    """OpenAI's wrapping of a URL; further fields, such as `detail`, mean nothing here."""

    url: str


class Part(BaseModel):
    """One input of `/v1/embeddings`, in OpenAI's content form."""

    type: Literal["text", "input_text", "image_url", "input_image"]
    text: str | None = None
    image_url: ImageUrl | str | None = None


class EmbeddingRequest(BaseModel):
    """OpenAI's request for embeddings, with pictures as content parts. Fields that mean nothing here are ignored."""

    input: Text | Part | Annotated[list[Text | Part], Field(min_length=1, fail_fast=True)]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    kind: Literal["caption", "long_caption", "phrase"] | None = Field(
        None, description="What the texts are. Left out: chosen by their length."
    )


class PhraseBox(BaseModel):
    """Where a phrase of the query fits best."""

    model_config = ConfigDict(from_attributes=True)

    phrase: str
    box: tuple[float, float, float, float]
    similarity: float


class Hit(BaseModel):
    """A picture that was found."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    path: str
    score: float
    confidence: float = Field(description="Share of hits at least this good that are expected to be no accident.")
    boxes: list[PhraseBox]
    width: int
    height: int
    caption: str
    similarities: list[tuple[str, float]]


class Hits(BaseModel):
    """What a search found, best first."""

    hits: list[Hit]
    seconds: float


class Explanation(PhraseBox):
    """Where a phrase is, with the heat of every cell of the picture's grid, in [0, 1], rows from the top."""

    heat: list[list[float]]


class Explanations(BaseModel):
    """One explanation per phrase."""

    id: str
    explanations: list[Explanation]


class NamedBox(BaseModel):
    """Where something is that a name says."""

    name: str
    box: tuple[float, float, float, float] = Field(description="(x0, y0, x1, y1) in fractions of the picture.")
    score: float


class Boxes(BaseModel):
    """Boxes of a picture, surest first."""

    boxes: list[NamedBox]
    seconds: float


class NamedArea(BaseModel):
    """How much of a picture shows what a name says."""

    name: str
    share: float = Field(description="Of the picture's pixels, 0 to 1.")
    confidence: float = Field(description="Mean over these pixels.")


class Areas(BaseModel):
    """Labels of a picture's pixels, and the names that it shows, the largest first."""

    labels: str = Field(description="PNG in base64: 0 is none, 1 the first name. Large pictures are halved or more.")
    width: int
    height: int
    areas: list[NamedArea]
    seconds: float


class Similarities(BaseModel):
    """Cosine of each text (rows) and each picture (columns)."""

    similarities: list[list[float]]


class Embedding(BaseModel):
    """One embedding, of unit length."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens of the texts. Pictures have none."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """OpenAI's answer."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class Model(BaseModel):
    """A model, in OpenAI's form."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When the service began, in seconds since 1970.")
    owned_by: str = "foveal"


class Models(BaseModel):
    """OpenAI's list of models."""

    object: Literal["list"] = "list"
    data: list[Model]


class LastBatch(BaseModel):
    """What became of the last batch."""

    model_config = ConfigDict(from_attributes=True)

    work: str
    size: int
    seconds: float
    finished: float
    outcome: Literal["ok", "partly", "failed"]


class Health(BaseModel):
    """The true state."""

    status: Literal["ok", "stuck", "stopping", "no index"]
    model: str
    pictures: int
    queued: int
    busy_seconds: float
    last_batch: LastBatch | None


class ErrorBody(BaseModel):
    """What went wrong, in one line."""

    message: str
    type: str
    code: int


class Error(BaseModel):
    """Every answer that is no answer."""

    error: ErrorBody
