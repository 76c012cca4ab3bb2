import re

import pytest

from foveal.annotation.assistant.prompt import FOLDER, fill


def test_prompts_that_cannot_be_filled_say_so(tmp_path):
    with pytest.raises(ValueError, match=r"no prompt 'caption.v0'. Give a text file, or one of: caption.v1, ground.v1"):
        fill("caption.v0")
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("Tell me of $colour.")
    with pytest.raises(ValueError, match=r"wrong placeholder \('colour'\). It may use: \$phrases"):
        fill(str(wrong), phrases="1. a cup")


@pytest.mark.parametrize("name", [path.stem for path in sorted(FOLDER.glob("*.txt"))])
def test_every_prompt_ends_with_the_form_of_its_answer(name):
    values = {"caption.v1": {}, "negatives.v1": {"count": 10, "phrases": "1. a cup", "caption": ""}}
    text = fill(name, **values.get(name, {"phrases": "1. a cup"}))
    assert re.search(r'Answer with one JSON object and nothing else[^{]*\{".*\}$', text, re.DOTALL)
    assert "$" not in text
