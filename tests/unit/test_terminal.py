from tools.terminal import columns, printable


def test_columns_line_up_and_cells_stay_as_they_are() -> None:
    rows = [["name", "n", "digest"], ["  a", "1e5", "0x10"], ["a longer name", "7", ""]]
    assert columns(rows, "<><").splitlines() == [
        "name             n  digest",
        "  a            1e5  0x10",
        "a longer name    7",
    ]


def test_what_a_terminal_would_obey_is_quoted() -> None:
    assert printable("数字.png") == "数字.png"
    assert printable("a\x1b[2J.png") == r"'a\x1b[2J.png'"
