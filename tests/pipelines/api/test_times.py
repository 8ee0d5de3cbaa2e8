"""Times of requests: years, months and days are whole, as people write them."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from pipelines.api.requests import Filters, parse_interval


def moment(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=UTC)


END = (23, 59, 59, 999_999)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2012", moment(2012, 1, 1), moment(2012, 12, 31, *END)),
        ("2012/2015", moment(2012, 1, 1), moment(2015, 12, 31, *END)),
        ("2012-02", moment(2012, 2, 1), moment(2012, 2, 29, *END)),
        ("2011-12/2012-02", moment(2011, 12, 1), moment(2012, 2, 29, *END)),
        ("2012-02-03", moment(2012, 2, 3), moment(2012, 2, 3, *END)),
        ("2012/..", moment(2012, 1, 1), None),
        ("../2012", None, moment(2012, 12, 31, *END)),
        ("/2012-06", None, moment(2012, 6, 30, *END)),
        ("2012/2015-01-02T03:04:05Z", moment(2012, 1, 1), moment(2015, 1, 2, 3, 4, 5)),
        ("2015-01-02T03:04:05+01:00", moment(2015, 1, 2, 2, 4, 5), moment(2015, 1, 2, 2, 4, 5)),
        ("9999", moment(9999, 1, 1), moment(9999, 12, 31, *END)),
    ],
)
def test_first_and_last_moment(text, first, last):
    assert Filters(datetime=text).datetime == text
    assert parse_interval(text) == (first, last)


@pytest.mark.parametrize("text", ["2012-13", "2012-02-30", "0000", "2015/2012", "12", "2012/2013/2014", ".."])
def test_what_is_no_time(text):
    with pytest.raises(ValidationError):
        Filters(datetime=text)
