import random
import time
from dataclasses import dataclass, replace

import pytest

from foveal.annotation.duplicates.fingerprints import Hashes
from foveal.annotation.run.engine import Outcome, checked, entries, prepared, process, unseen
from foveal.annotation.stage import Dropped, Halted, remark
from foveal.types import Negative, Region, Sample

BOX = (0.1, 0.2, 0.5, 0.75)


@dataclass(frozen=True)
class Add:
    """A region with a hard negative for every sample."""

    def __call__(self, sample):
        remark("cups added", 2)
        region = Region(BOX, "a red cup", (Negative("a blue cup", "color"),))
        return replace(sample, regions=(*sample.regions, region))


@dataclass(frozen=True)
class Waiting:
    """Takes its time, a different one for each sample, in threads."""

    concurrency: int = 8

    def __call__(self, sample):
        time.sleep(random.Random(sample.id).uniform(0, 0.01))
        return replace(sample, long_caption=f"about {sample.id}")


@dataclass(frozen=True)
class Ends:
    """Ends each sample by what its id says."""

    def __call__(self, sample):
        match sample.id:
            case "s1":
                raise Dropped("too dull")
            case "s2":
                raise ValueError("no cup:\nnone at all")
            case "s3":
                return None
            case "s4":
                return replace(sample, captions=("half \ud800",))
            case "s5":
                raise Halted("The endpoint is down.")
        return sample


@pytest.fixture
def records(samples):
    """Numbers, and what gives the samples."""
    return [(number, lambda sample=sample: sample) for number, sample in enumerate(samples)]


def test_stages_in_threads_give_what_one_thread_gives(records):
    one, eight = (list(process(records, {"a": Waiting(threads), "b": Add()})) for threads in (1, 8))
    assert one == eight
    assert [outcome.sample.long_caption for outcome in one] == [f"about s{number}" for number in range(12)]


def test_what_a_stage_does_to_a_sample_is_its_outcome(records):
    outcomes = list(process(records[:5], {"ends": Ends(), "add": Add()}))
    assert [(outcome.ended, outcome.reason, outcome.failed) for outcome in outcomes] == [
        ("", "", False),
        ("ends", "too dull", False),
        ("ends", "no cup: none at all", True),
        ("ends", "not wanted", False),
        ("ends", r"'half \ud800': it holds half of a surrogate pair, which is no character", True),
    ]
    assert outcomes[0].counts == ((0, 0, {}), (0, 0, {}), (1, 1, {"cups added": 2}))
    assert [len(outcome.counts) for outcome in outcomes] == [3, 1, 1, 1, 1]
    assert outcomes[1].sample.id == "s1"


def test_an_outcome_is_written_with_its_fate_and_without_its_picture(records):
    through, dropped, failed = (outcome.entry() for outcome in process(records[:3], {"ends": Ends()}))
    assert through == {
        "number": 0,
        "passed": ((0, 0, {}), (0, 0, {})),
        "row": {"id": "s0", "captions": ["a cup"]},
    }
    assert (dropped["dropped"], dropped["reason"], "failed" in dropped) == ("ends", "too dull", False)
    assert (failed["failed"], failed["reason"], "dropped" in failed) == ("ends", "no cup: none at all", False)


def test_an_outcome_without_a_sample_says_why_there_is_none():
    with pytest.raises(ValueError, match="broken"):
        Outcome(0, reason="broken").whole()


def test_a_worker_says_in_its_last_entry_that_it_cannot_go_on_and_the_run_ends(records):
    *regular, last = entries(records[4:7], {"ends": Ends()}, hashing=False)
    assert [entry["number"] for entry in regular] in ([], [4])  # those that were through before it halted
    assert last == {"halted": "The endpoint is down."}
    with pytest.raises(Halted, match=r"The endpoint is down\."):
        checked(last, None)


def test_only_the_first_of_near_duplicates_goes_on_here_as_from_a_worker():
    hashes = Hashes(2)
    first, near, far = Outcome(0, hash=0b0), Outcome(1, hash=0b11), Outcome(2, hash=0b111)
    assert unseen(first, hashes) is first
    assert (unseen(near, hashes).ended, unseen(near, hashes).reason) == ("read", "near-duplicate picture")
    assert unseen(far, hashes) is far
    assert unseen(Outcome(3), hashes) == Outcome(3)
    hashes = Hashes(2)
    judged = [checked(outcome.entry(), hashes) for outcome in (first, near, far)]
    assert judged[0] == first.entry()
    assert judged[1] == {**near.entry(), "dropped": "read", "reason": "near-duplicate picture", "remarks": {}}
    assert judged[2] == far.entry()


def test_a_stage_that_looks_first_sees_what_can_be_read_and_the_others_are_left_as_they_are():
    class Source:
        def __len__(self):
            return 4

        def sample(self, index):
            if index == 2:
                raise ValueError("broken")
            return Sample(str(index), b"")

    @dataclass(frozen=True)
    class Looks:
        ids: tuple = ()

        def prepared(self, samples):
            return Looks(tuple(sample.id for sample in samples))

        def __call__(self, sample):
            return sample

    add = Add()
    stages = prepared({"looks": Looks(), "add": add}, Source())
    assert stages["looks"].ids == ("0", "1", "3")
    assert stages["add"] is add
