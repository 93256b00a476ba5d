"""Tables of text: columns as wide as what is in them, but for what does not fit the terminal, which is cut.

Columns that say what to type next are never cut, however narrow the terminal: those in WHOLE, and one more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

Row = Mapping[str, str | Text]

WHOLE = frozenset({"id", "framework id", "agent id"})
GAP = "  "
# A column that is cut keeps so many characters, of which the last says that there are more.
CUT_CHARACTERS_MIN = 6


class Table:
    """The columns of a table, which grow with the rows: rows that come later stand below those before."""

    def __init__(self, columns: Sequence[str], *, width: int | None, name: str = "") -> None:
        """`width`: of the terminal, in characters; None where lines may be as long as they like.

        `name`: the column that says what the thing of a row is called.
        """
        self._whole = WHOLE | {name}
        self._columns = tuple(columns)
        self._width = width
        self._widths = [0] * len(self._columns)

    def lines(self, rows: Sequence[Row], *, headers: bool) -> Iterator[Text]:
        """A line for each row, below one with the names of the columns if `headers`."""
        table = [[_cell(row[name]) for name in self._columns] for row in rows]
        if headers:
            table.insert(0, [Text(name.upper(), "bold") for name in self._columns])
        for cells in table:
            self._widths = [max(width, cell.cell_len) for width, cell in zip(self._widths, cells, strict=True)]
        widths = self._fitting()
        for cells in table:
            yield _line(cells, widths)

    def _fitting(self) -> list[int]:
        """How wide each column is, so that a line fits the terminal if it can: the widest are cut first."""
        widths = list(self._widths)
        if self._width is None:
            return widths
        surplus = sum(widths) + len(GAP) * (len(widths) - 1) - self._width
        while surplus > 0:
            cuttable = [
                index
                for index, name in enumerate(self._columns)
                if name not in self._whole and widths[index] > CUT_CHARACTERS_MIN
            ]
            if not cuttable:
                break
            widths[max(cuttable, key=widths.__getitem__)] -= 1
            surplus -= 1
        return widths


def _cell(value: str | Text) -> Text:
    return value if isinstance(value, Text) else Text(visible(value))


def _line(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text()
    for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        shown = cell.copy()
        shown.truncate(width, overflow="ellipsis", pad=index < len(cells) - 1)
        line.append_text(shown)
        if index < len(cells) - 1:
            line.append(GAP)
    line.rstrip()
    return line


def visible(text: str) -> str:
    """The text with what is not printable written out: no name moves the cursor, or begins a line of its own."""
    return text if text.isprintable() else "".join(one if one.isprintable() else _written_out(one) for one in text)


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
