"""The one line that findings come to."""

import pytest

from mpiqmd.findings import Finding, closing

pytestmark = pytest.mark.serial
GOOD, UNKNOWN, BAD = Finding(True, "this is fine"), Finding(None, "that is too short"), Finding(False, "the other is wrong")


@pytest.mark.parametrize(
    ("findings", "good", "words"),
    [
        ([GOOD], True, "good enough for soup: this is fine"),
        ([GOOD, UNKNOWN], None, "not proven to be good enough for soup: that is too short; this is fine"),
        (
            [GOOD, UNKNOWN, BAD],
            False,
            "warning: NOT good enough for soup: the other is wrong; that is too short; this is fine",
        ),
        ([], None, "not proven to be good enough for soup: nothing was looked at"),
    ],
)
def test_what_speaks_against_it_decides_and_comes_first(findings, good, words):
    assert closing("soup", findings) == {"good": good, "words": words}
