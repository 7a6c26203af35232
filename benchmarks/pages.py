"""Write tables into the pages of ``docs/benchmarks/``."""

import re

from benchmarks import PAGES


def replace_table(text: str, name: str, table: str) -> str:
    """Replace the table between ``<!-- name -->`` and ``<!-- /name -->`` of a page."""
    between = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not between.search(text):
        raise ValueError(f"the page has no place for the table {name!r}: add <!-- {name} --> and <!-- /{name} -->")
    return between.sub(lambda found: f"{found[1]}{table}{found[2]}", text)


def write_tables(page: str, tables: dict[str, str]) -> None:
    """Replace the tables of a page, such as ``engine.md``, by name."""
    path = PAGES / page
    text = path.read_text()
    for name, table in tables.items():
        text = replace_table(text, name, table)
    path.write_text(text)
