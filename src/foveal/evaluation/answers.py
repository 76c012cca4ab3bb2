"""Measuring models that answer in words: yes or no by LLaVA's rule and by lmms-eval's, and exact short answers."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .bootstrap import Statistic
from .pinned.canonical import Question, ordered
from .pinned.reading import Roots, read
from .pinned.registry import find
from .report import Report
from .result import Queries, Result, measure

Rule = Literal["llava", "lmms"]
RULES: tuple[Rule, ...] = ("llava", "lmms")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@runtime_checkable
class Answers(Protocol):
    """What answers questions about pictures in words; `multimodal.answer.Answerer` is one."""

    def answer(self, pictures: Sequence[Path | bytes], questions: Sequence[str]) -> list[str]:
        """Return an answer to each question about its picture."""


@dataclass(frozen=True)
class Verdicts:
    """What answers to yes-or-no questions mean.

    Attributes:
        yes: The answer says yes.
        right: The answer is right.
        truth: The right answer is yes.
    """

    yes: Bool[Tensor, " Q"]
    right: Bool[Tensor, " Q"]
    truth: Bool[Tensor, " Q"]


def judge(answers: Sequence[str], labels: Sequence[str], rule: Rule) -> Verdicts:
    """Return what answers mean.

    Args:
        answers: In words.
        labels: "yes" or "no".
        rule: "llava": the first sentence says no if "No", "no" or "not" is a word of it, else yes, an empty one too.
            "lmms": only an answer that is "yes" or "no" alone counts; all others are wrong.
    """
    truth = torch.tensor([label == "yes" for label in labels])
    if rule == "llava":
        yes = torch.tensor([not {"No", "no", "not"} & set(_first_sentence(answer)) for answer in answers])
        return Verdicts(yes, yes == truth, truth)
    plain = [answer.lower().strip() for answer in answers]
    right = torch.tensor([answer == label for answer, label in zip(plain, labels, strict=True)])
    return Verdicts(torch.tensor([answer == "yes" for answer in plain]), right, truth)


def is_exact(answer: str, label: str) -> bool:
    """True if a short answer is the right one, case, punctuation and outer spaces apart (GQA as lmms-eval has it)."""
    return _plain(answer) == _plain(label)


def yes_no_result(verdicts: Verdicts, picture: Sequence[int], rule: Rule) -> Result:
    """Return POPE's numbers (arXiv:2305.10355) in percent, with intervals over pictures.

    Args:
        verdicts: Of every question.
        picture: Which picture each is about.
        rule: For the note.

    Returns:
        "accuracy", "precision" and "recall" of yes, "f1", "yes_share". What nothing stands behind is 0.
    """
    owner = torch.tensor(picture)
    said, truth = verdicts.yes.long(), verdicts.truth.long()
    cell = (2 * truth + said).double()  # 0 and 3: right where only "yes" and "no" are said
    metrics = {
        "accuracy": measure(verdicts.right, owner),
        "precision": measure(cell, owner, _share((3,), (3, 1))),
        "recall": measure(cell, owner, _share((3,), (3, 2))),
        "f1": measure(cell, owner, _share((3, 3), (3, 3, 1, 2))),
        "yes_share": measure(verdicts.yes, owner),
    }
    note = f"answers read by {'LLaVA' if rule == 'llava' else 'lmms-eval'}'s rule"
    return Result(metrics, {"answer": Queries(verdicts.right.long(), owner)}, notes=(note,))


def measure_answers(
    model: Answers, names: Sequence[str], roots: Sequence[Path], *, called: str = "", limit: int | None = None
) -> Report:
    """Ask a model the questions of protocols, and judge its answers by both rules.

    Args:
        model: Answers in words. A dual encoder does not: pope-as-choice is for those.
        names: Of protocols with questions, such as "pope@coco-random".
        roots: Folders with their data.
        called: The model, in the report.
        limit: Questions of each protocol; then it is not the protocol.

    Raises:
        ValueError: If a protocol asks no questions, or none of its pictures is there.
    """
    results: dict[str, dict[str, Result]] = {}
    seconds: dict[str, float] = {}
    for name in names:
        start = perf_counter()
        pinned = find(name)
        if pinned.task != "yes-no":
            raise ValueError(f"{pinned.name} is no protocol for a model that answers in words: it is {pinned.task}.")
        data = read(pinned, Roots(tuple(roots)))
        rows = cast("list[Question]", ordered(data.rows)[:limit])
        places = [data.images.place(row.image) for row in rows]
        here = [number for number, place in enumerate(places) if data.images.holds(place)]
        if not here:
            raise ValueError(f"{pinned.name}: 0 of {len(rows):,} questions have their picture, such as {places[0]}.")
        pictures = [data.images.load(places[number]) for number in here]
        answers = model.answer(pictures, [rows[number].question for number in here])
        owners = list(dict.fromkeys(rows[number].image for number in here))
        owner = [owners.index(rows[number].image) for number in here]
        labels = [rows[number].answer for number in here]
        results[pinned.name] = {}
        for rule in RULES:
            result = yes_no_result(judge(answers, labels, rule), owner, rule)
            counted = Result(result.metrics, result.queries, "questions", len(here), len(rows), result.notes)
            results[pinned.name][f"yes_no_{rule}"] = counted
        seconds[pinned.name] = perf_counter() - start
    return Report(called, "answers", results, seconds)


def _first_sentence(answer: str) -> list[str]:
    return answer.partition(".")[0].replace(",", "").split(" ")


def _plain(answer: str) -> str:
    return " ".join(answer.lower().translate(_PUNCTUATION).split())


def _share(numerator: tuple[int, ...], denominator: tuple[int, ...]) -> Statistic:
    """Return a statistic in percent: how many values are among some, divided by how many are among others."""

    def statistic(values: Float[Tensor, " Q"], weights: Float[Tensor, "B Q"]) -> Float[Tensor, " B"]:
        counts = torch.stack([weights @ (values == cell).double() for cell in range(4)])
        above, below = (counts[list(cells)].sum(dim=0) for cells in (numerator, denominator))
        return 100 * above / below.clamp(min=1e-9)

    return statistic
