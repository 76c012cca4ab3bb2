from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from foveal.annotation.assistant.endpoint import retry_after


def test_retry_after_is_read_as_seconds_or_as_a_date():
    assert retry_after({"retry-after": "7"}) == 7
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 < retry_after({"retry-after": later}) <= 30


@pytest.mark.parametrize("value", ["", "soon", "-3", "nan", "inf", "1e999", "Fri, 99 Foo 2020", "\x1b[2J", "9" * 5000])
def test_a_wait_that_is_none_is_not_waited_for(value):
    assert retry_after({"retry-after": value}) == 0
