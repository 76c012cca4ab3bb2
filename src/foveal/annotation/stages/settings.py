"""Settings of a command line for all stages."""

from dataclasses import dataclass

from ..assistant.assistant import Assistant


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Outside settings that stages need. Everything else is a field of the stage, with a default.

    Attributes:
        assistant: The endpoint to ask. None: there is none, and stages do without where they can.
        encoder: A name or path for `foveal.load`: dense features for `ground`, similarities for `filter`.
        detector: What grounds phrases: "dense" (the encoder's features), "assistant" (the endpoint answers with
            boxes), or the name or folder of a detector of `transformers`.
        contamination: Folders of pictures or sources of ours, such as a benchmark's, whose pictures and captions
            `filter` keeps out; "name=..." names one in the report.
        near_duplicates: Drop pictures whose hash of 128 bits differs from an earlier one's in so few (6 is a good
            number). None: they are not looked for. Memory then grows with the number of pictures.
        device: Where models run. None: an accelerator if there is one.
        seed: Of everything that is drawn.
        workers: Processes that share the work. None: one, or two of the Ray engine's.
    """

    assistant: Assistant | None = None
    encoder: str = "starter"
    detector: str = "dense"
    contamination: tuple[str, ...] = ()
    near_duplicates: int | None = None
    device: str | None = None
    seed: int = 0
    workers: int | None = None
