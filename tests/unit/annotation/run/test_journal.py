import json

import pytest

from foveal.annotation.run.journal import Journal


def passed(number, **more):
    return {"number": number, "passed": [[0, 0, {}]], "row": {"id": f"s{number}"}, **more}


def ended(number, fate, reason):
    return {"number": number, fate: "add", "reason": reason, "remarks": {}, "passed": [], "row": {"id": f"s{number}"}}


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal.jsonl")


def write(journal, *lines, is_retry=False):
    with journal.appending(is_retry) as append:
        for line in lines:
            append(line)


def test_a_journal_that_is_not_there_is_empty(journal):
    journal.mend()
    assert (len(journal), list(journal), journal.failed()) == (0, [], {})


def test_entries_are_counted_and_come_back_in_order(journal):
    lines = [passed(0), ended(1, "failed", "broken"), ended(2, "dropped", "dull"), passed(3)]
    write(journal, *lines[:2])
    write(journal, *lines[2:])
    assert list(journal) == lines
    assert len(journal) == 4


def test_failures_are_known_with_their_stage_and_error(journal):
    write(journal, passed(0), ended(1, "failed", "broken"), ended(2, "dropped", "dull"), ended(3, "failed", "late"))
    assert journal.failed() == {
        1: {"id": "s1", "stage": "add", "error": "broken"},
        3: {"id": "s3", "stage": "add", "error": "late"},
    }


def test_what_was_tried_again_takes_the_place_of_what_was_before(journal):
    write(journal, passed(0), ended(1, "failed", "broken"), ended(2, "failed", "late"))
    write(journal, ended(1, "failed", "still broken"), passed(2, hash="f"), is_retry=True)
    write(journal, passed(3))
    assert len(journal) == 4
    assert [entry["number"] for entry in journal] == [0, 1, 2, 3]
    assert [entry.get("reason") for entry in journal] == [None, "still broken", None, None]
    assert journal.failed() == {1: {"id": "s1", "stage": "add", "error": "still broken"}}


@pytest.mark.parametrize("torn", [b"{", b'{"number": 2, "pas', b"x" * 200_000])
def test_a_last_line_that_was_cut_off_is_taken_away(journal, torn):
    write(journal, passed(0), passed(1))
    whole = journal.path.read_bytes()
    with journal.path.open("ab") as file:
        file.write(torn)
    journal.mend()
    assert journal.path.read_bytes() == whole
    journal.mend()
    assert journal.path.read_bytes() == whole


def test_a_journal_of_one_torn_line_is_empty(journal):
    journal.path.write_bytes(b'{"number": 0')
    journal.mend()
    assert journal.path.read_bytes() == b""


def test_a_damaged_line_is_named_by_its_place(journal):
    write(journal, passed(0))
    with journal.path.open("a") as file:
        file.write("damaged\n")
    with pytest.raises(ValueError, match=r"journal.jsonl:2 is damaged. Begin again with --overwrite"):
        len(journal)


def test_pictures_are_remembered_but_for_those_that_were_near_duplicates(journal):
    copy = {"number": 1, "dropped": "read", "reason": "near-duplicate picture", "remarks": {}, "passed": []}
    write(journal, passed(0, hash="0"), {**copy, "hash": "1"}, ended(2, "dropped", "dull") | {"hash": "ff"}, passed(3))
    hashes = journal.hashes(0)
    assert [hashes.find(value) for value in (0, 1, 255)] == ["0", None, "2"]


def test_an_entry_is_in_the_file_when_the_journal_is_left_and_is_plain_text(journal):
    write(journal, passed(0, note="größer"))
    assert json.loads(journal.path.read_text(encoding="utf-8"))["note"] == "größer"
    assert "größer" in journal.path.read_text(encoding="utf-8")
