"""What a command line can tell all stages."""

from dataclasses import dataclass

from .assistants import Assistant


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What stages need to know from outside. Everything else is a field of the stage, with a default.

    Attributes:
        assistant: The endpoint to ask. None: there is none, and stages do without where they can.
        encoder: A name or path for `foveal.load`: dense features for `ground`, similarities for `filter`.
        detector: What grounds phrases: "dense" (the encoder's features), "assistant" (the endpoint answers with
            boxes), or the name or folder of a detector of `transformers`.
        contamination: Names of benchmarks, or files of ours, whose pictures and captions must not come in.
        near_duplicates: Drop pictures whose hash of 128 bits differs from an earlier one's in so few (6 is a good
            number). None: they are not looked for. Memory then grows with the number of pictures.
        device: Where models run. None: an accelerator if there is one.
        seed: Of everything that is drawn.
        workers: Processes of the Ray engine.
    """

    assistant: Assistant | None = None
    encoder: str = "starter"
    detector: str = "dense"
    contamination: tuple[str, ...] = ()
    near_duplicates: int | None = None
    device: str | None = None
    seed: int = 0
    workers: int = 2
