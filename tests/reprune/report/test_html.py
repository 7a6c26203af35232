"""A page escapes what it is given and needs nothing from outside."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from reprune.report.html import Cell, Gallery, KeyValues, Note, Picture, Section, Table, Tile, Tiles, page

VOID = {"meta", "link", "img", "br"}


class Reader(HTMLParser):
    """Collects tags, text and ids, and fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def everything(text: str) -> str:
    blocks = [
        Note(text, items=[text]),
        Table((text, "b"), [(text, Cell(text, detail=text))], caption=text),
        KeyValues({text: text}),
        Tiles([Tile(text, text, text)]),
        Gallery([Picture("", text, text, text)]),
    ]
    return page(text, text, [Section(text, blocks, lead=text)], badge=(text, "good"))


def test_markup_in_any_text_stays_text() -> None:
    found = Reader(everything('<script>alert("x")</script><img src=https://example.org/x>'))
    assert "script" not in found.tags and found.tags.count("img") == 1
    assert found.text.count("<script>") >= 12


@given(st.text(min_size=1, max_size=30))
def test_a_page_is_well_formed_whatever_it_says(text: str) -> None:
    Reader(everything(text))


def test_tables_name_their_rows_and_columns() -> None:
    text = page("t", "s", [Section("x", [Table(("model", "size"), [("dense", "1 MB")], numeric=(1,))])])
    assert text.count('scope="col"') == 2 and text.count('scope="row"') == 1
