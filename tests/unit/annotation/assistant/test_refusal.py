import pytest

from foveal.annotation.assistant.refusal import refuses

REFUSALS = (
    "I'm sorry, but I can't assist with that.",
    "I’m sorry, I can’t help with identifying people.",
    "I cannot see the image you mention.",
    "I am unable to view the picture.",
    "Unfortunately, I can't process this image.",
    "As an AI language model, I do not have eyes.",
    "There is no image attached to your message.",
    "Sorry, no image was provided. However, I can describe cats in general.",
    "The picture shows a man, but I cannot identify him.",
    "I do not have the ability to view images.",
)


CAPTIONS = (
    "A sorry sight: a wet dog that cannot get in.",
    'A sign reads "Sorry, we\'re closed" in red letters.',
    "The man in the picture cannot be seen clearly behind the window.",
    "A street without cars, no people in sight.",
    "Two robots labeled 'AI assistant' stand in a hall.",
    "An unfortunate cyclist lies beside a bent bicycle.",
    "I-beams of steel lie on a truck.",
    "A poster says I can do it.",
)


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_are_recognized(text):
    assert refuses(text)


@pytest.mark.parametrize("text", CAPTIONS)
def test_captions_are_no_refusals(text):
    assert not refuses(text)


def test_captions_of_people_are_no_refusals(shared_data):
    import json

    rows = json.loads((shared_data / "captions" / "docci_test_captions.json").read_text())
    texts = [text for row in (rows.values() if isinstance(rows, dict) else rows) for text in _texts(row)]
    texts = [text for text in texts if len(text.split()) > 5]
    assert len(texts) > 1000
    refused = [text for text in texts if refuses(text)]
    assert not refused, refused[:3]


def _texts(row):
    if isinstance(row, str):
        return [row]
    return [text for value in (row.values() if isinstance(row, dict) else row) for text in _texts(value)]
