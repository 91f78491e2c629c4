"""What follows the pages sees what is wrong with one."""

import os
from pathlib import Path

import pytest

from tests.support.follow import first_missing, follow
from tests.support.pages import Command, Page

PAGE = """
```python
# greet.py
print("hello")
```

<!-- not run: nobody has this machine -->
```console
ada$ exit 7
```

```console
$ git init --quiet . && greeting=$(python3 greet.py)
$ echo $greeting; echo and; echo 3 s
hello
...
5 s
```

```diff
--- a/greet.py
+++ b/greet.py
@@ -1,2 +1,2 @@
 # greet.py
-print("hello")
+print("bye")
```

<!-- output varies -->
```console
$ python3 greet.py
good bye
```
"""


def done(text: str, folder: Path) -> None:
    (folder / "page.md").write_text(text)
    (folder / "aside").mkdir()
    (folder / "clone").mkdir()
    follow(Page(folder / "page.md"), folder / "clone", folder / "aside", os.environ)


def test_files_commands_and_changes_in_their_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done(PAGE, tmp_path)
    out, err = capsys.readouterr()
    assert out == "page.md, line 8: not run: nobody has this machine\n"
    assert err.endswith("$ python3 greet.py\nbye\n\n")


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("echo and;", "false;", "line 12: echo $greeting; false; echo 3 s does not print"),
        ("\nhello\n", "\nHello\n", "does not print 'Hello'"),
        ("\n5 s\n", "\n5 s\nand\n", "does not print 'and'"),
        ("$ git init", "$ false && git init", "line 12: this fails: false && git init"),
        ("@@\n # greet.py", "@@\n # meet.py", "line 20: this fails: git apply"),
        ("$ python3 greet", "$ python3 grete", "line 30: this fails: python3 grete.py"),
    ],
)
def test_a_mistake_of_the_page(right: str, wrong: str, complaint: str, tmp_path: Path) -> None:
    text = PAGE.replace("...\n", "and\n")
    assert right in text
    with pytest.raises(AssertionError) as error:
        done(text.replace(right, wrong), tmp_path)
    assert complaint in str(error.value)


def test_output_is_compared_but_for_what_varies() -> None:
    printed = "main (a2615cf) 9.5 s\n  └── ca5c363 [hexed-stud]   Success   0.9468"
    assert (
        first_missing(["main (0123abc) 10 s", "└── 98b1458 [snowy-tuns] Success 0.9468"], printed)
        is None
    )
    assert first_missing(["└── 98b1458 [snowy-tuns] Success 0.9469"], printed)
    assert first_missing(["main (effaced) 9.5 s"], printed)  # a word


def test_the_words_of_a_command() -> None:
    command = Command(
        "MNIST_DIR=$PWD/x dvc repro \\\n  -S 'a=b c' > log && python $(cat y) | tail # so"
    )
    assert command.words() == [
        ["dvc", "repro", "-S", "a=b c"],
        ["python", "WORDS"],
        ["tail"],
        ["cat", "y"],
    ]
