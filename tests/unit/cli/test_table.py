"""A table fits its terminal: first columns shrink, then the least important go."""

import pytest
from rich.cells import cell_len

from batchchat.cli.terminal.table import Column, fits, table

COLUMNS = [
    Column("ID"),
    Column("model", min_width=6),
    Column("cost", is_number=True, rank=2),
    Column("age", is_number=True, rank=1),
]
ROWS = [["a1", "mistral-7b-instruct", "$12.50", "3d"], ["b22", "m", "$0.10", "10h"]]


def test_numbers_are_aligned_right_and_texts_left():
    assert table(COLUMNS, ROWS) == [
        "ID   model                  cost  age",
        "a1   mistral-7b-instruct  $12.50   3d",
        "b22  m                     $0.10  10h",
    ]


def test_a_long_text_is_cut_before_a_column_is_left_out():
    assert table(COLUMNS, ROWS, 30) == [
        "ID   model           cost  age",
        "a1   mistral-7b-…  $12.50   3d",
        "b22  m              $0.10  10h",
    ]


def test_the_column_with_the_highest_rank_is_left_out_first():
    assert table(COLUMNS, ROWS, 20)[0] == "ID   model       age"
    assert table(COLUMNS, ROWS, 12)[0] == "ID   model"


@pytest.mark.parametrize("width", range(11, 60))
def test_no_line_is_longer_than_the_terminal(width):
    wide = [*ROWS, ["c", "模型" * 9, "$1", "1s"]]
    assert max(map(cell_len, table(COLUMNS, wide, width))) <= width


def test_fits_tells_whether_all_columns_stay():
    least = 3 + 2 + 6 + 2 + 6 + 2 + 3
    assert fits(COLUMNS, ROWS, None)
    assert fits(COLUMNS, ROWS, least)
    assert not fits(COLUMNS, ROWS, least - 1)


def test_control_characters_are_escaped():
    assert table([Column("model")], [["a\x1b[2Jb\n"]]) == ["model", r"a\x1b[2Jb\n"]
