"""docs/papers.md, made anew: each table and figure of the papers by `sao paper`, between its marks.

python tests/papers_page.py                 all that takes seconds (some minutes together)
python tests/papers_page.py sao/table7 ...  these alone; the others stay as they are
"""

import re
import sys
from pathlib import Path

from sao_cli import paper_entries, paper_items
from sao_cli.study.papers.entries_markdown import item_markdown, items_markdown
from sao_cli.study.papers.paper_items import ITEMS

PAGE = Path(__file__).parent.parent / "docs" / "papers.md"
SLOW = {  # what trains networks: seeds that are enough for a page
    *("sao/fig11", "sao/table7", "snip/lenet", "snip/random-labels", "spp/gamma", "spp/unsupervised"),
    *("spp/sculpting", "eoc/failures", "eoc/accuracies"),
}
BEGIN, END, LIST = "<!-- {} -->\n", "<!-- end -->\n", "list"


def section(item: str) -> str:
    """An item's Markdown, as this machine measures it now."""
    slow = {"seeds": 1} if item in SLOW else {}
    return item_markdown(item, paper_entries(item, **slow), "--seeds 1" if slow else "")


def renewed(page: str, name: str, text: str) -> str:
    """The page with `text` between the marks of that name."""
    begin = BEGIN.format(name)
    assert begin in page, f"docs/papers.md has no {begin.strip()}"
    return re.sub(re.escape(begin) + ".*?" + re.escape(END), lambda _: begin + text + END, page, flags=re.DOTALL)


def shown(page: str, name: str) -> str:
    """What stands between the marks of that name."""
    return page.partition(BEGIN.format(name))[2].partition(END)[0]


def main() -> None:
    page = renewed(PAGE.read_text(), LIST, items_markdown(paper_items()))
    for item in sys.argv[1:] or [item for item in ITEMS if item not in SLOW]:
        page = renewed(page, item, section(item))
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
