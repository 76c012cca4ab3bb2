import json
from contextlib import closing
from time import sleep

import pytest

from foveal.training.logbook import Logbook, read
from foveal.training.run import Machine


def opened(folder, steps, done=0, **machine):
    return Logbook(folder, "run", Machine(**machine), steps, done, progress=False)


def record(step, **terms):
    return {"step": step, "loss": sum(terms.values()), "terms": terms, "lr": 0.1}


def test_a_line_holds_the_record_and_the_speed(tmp_path):
    with closing(opened(tmp_path, 1)) as log:
        with log.waiting():
            sleep(0.03)
        sleep(0.03)
        log.write(record(1, a=0.1, b=0.2), pairs=6, tokens=60)
    (line,) = read(tmp_path / "log.jsonl")
    speed = line.pop("speed")
    assert line == record(1, a=0.1, b=0.2)
    assert speed["tokens/s"] == pytest.approx(10 * speed["pairs/s"], rel=0.01)
    assert 30 < speed["pairs/s"] < 100
    assert 0.2 < speed["wait"] < 0.8


def test_resuming_forgets_later_lines_and_a_broken_last_one(tmp_path):
    with closing(opened(tmp_path, 9)) as log:
        for step in (1, 2, 3):
            log.write(record(step, a=1.0), pairs=1, tokens=1)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    with closing(opened(tmp_path, 9, 2)) as log:
        log.write(record(3, a=7.0), pairs=1, tokens=1)
    assert [(line["step"], line["loss"]) for line in read(tmp_path / "log.jsonl")] == [(1, 1), (2, 1), (3, 7)]


def test_a_log_that_lacks_steps_is_resumed_and_it_is_said(tmp_path, caplog):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    opened(tmp_path, 9, 2).close()
    assert caplog.messages == []
    opened(tmp_path, 9, 5).close()
    assert caplog.messages == [f"{tmp_path / 'log.jsonl'} holds 2 of the 5 steps so far. The others are lost."]


def test_other_ranks_write_and_show_nothing(tmp_path, capsys):
    with closing(Logbook(tmp_path, "run", Machine(tensorboard=True), 1, active=False)) as log:
        log.write(record(1, a=1.0), pairs=1, tokens=1)
        log.sync()
        log.draw()
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().err == ""


def test_the_bar_shows_loss_terms_and_speed(tmp_path, capsys):
    with closing(Logbook(tmp_path, "run", Machine(), 2)) as log:
        log.write(record(1, region=0.25, hard=0.5), pairs=1, tokens=1)
    shown = capsys.readouterr().err
    for text in ("1/2", "loss=0.75", "region=0.25", "hard=0.5", "pairs/s=", "tokens/s="):
        assert text in shown


def test_curves_are_drawn_for_terms_that_come_and_go(tmp_path):
    with closing(opened(tmp_path, 2)) as log:
        log.write(record(1, a=1.0), pairs=1, tokens=1)
        log.write(record(2, a=1.0, b=2.0), pairs=1, tokens=1)
        log.draw()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_done_while_paused_does_not_slow_the_step_down(tmp_path):
    with closing(opened(tmp_path, 1)) as log:
        sleep(0.02)
        with log.paused():
            sleep(0.2)
        log.write(record(1, a=1.0), pairs=4)
    speed = read(tmp_path / "log.jsonl")[0]["speed"]
    assert set(speed) == {"pairs/s", "wait"}
    assert 4 / 0.2 < speed["pairs/s"] <= 4 / 0.02


def test_evaluations_have_curves_of_their_own(tmp_path):
    with closing(opened(tmp_path, 3)) as log:
        for step in (1, 2, 3):
            numbers = {"evaluation": {"own/retrieval/a@1": 10.0 * step}} if step != 2 else {}
            log.write(record(step, a=1.0) | numbers, pairs=1)
        log.draw()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_gets_every_number(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with closing(opened(tmp_path, 1, tensorboard=True)) as log:
        log.write(record(1, a=0.5), pairs=1, tokens=1)
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss", "lr", "terms/a", "speed/wait"} <= set(events.Tags()["scalars"])
    assert events.Scalars("terms/a")[0].value == 0.5


def test_lines_are_on_file_at_once(tmp_path):
    with closing(opened(tmp_path, 1)) as log:
        log.write(record(1, a=1.0), pairs=1, tokens=1)
        assert json.loads((tmp_path / "log.jsonl").read_text())["step"] == 1
