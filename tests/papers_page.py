"""docs/papers.md, made anew: each table and figure of the papers by `sao paper`, between its marks.

python tests/papers_page.py                 all that takes seconds (some minutes together)
python tests/papers_page.py sao/table7 ...  these alone; the others stay as they are
python tests/papers_page.py --mnist FOLDER [snip/lenet ...]  those that are shown of MNIST too, whose files are there
"""

import argparse
import re
from pathlib import Path
from typing import Any

from sao_cli import paper_entries, paper_items
from sao_cli.study.papers.entries_markdown import item_markdown, items_markdown
from sao_cli.study.papers.paper_items import ITEMS

PAGE = Path(__file__).parent.parent / "docs" / "papers.md"
ONE_SEED = {  # which are slow, and one seed is enough for a page
    *("snip/random-labels", "spp/sculpting", "eoc/failures", "eoc/accuracies"),
}
SLOW = {  # what trains networks
    *ONE_SEED,
    *("sao/fig11", "sao/table7", "snip/lenet", "spp/gamma", "spp/unsupervised"),
    *("rare/table1", "rare/table2", "rare/ablation"),
}
ON_MNIST: dict[str, dict[str, Any]] = {  # what is shown of it too, and at which scale
    "snip/lenet": {"seeds": 1},
    "snip/masks": {},
    "snip/random-labels": {"full": True, "seeds": 1},
    "spp/gamma": {"full": True},
    "spp/patterns": {},
    "spp/unsupervised": {"full": True, "seeds": 1},
}
BEGIN, END, LIST, MNIST = "<!-- {} -->\n", "<!-- end -->\n", "list", "{} on mnist"


def section(item: str) -> str:
    """An item's Markdown, as this machine measures it now."""
    slow = {"seeds": 1} if item in ONE_SEED else {}
    return item_markdown(item, paper_entries(item, **slow), "--seeds 1" if slow else "")


def of_mnist(item: str, folder: str) -> str:
    """The same on MNIST, below a smaller heading."""
    told = ON_MNIST[item]
    asked = [f"--{key}" if value is True else f"--{key} {value}" for key, value in told.items()]
    text = item_markdown(item, paper_entries(item, folder=folder, **told), " ".join(["--data-folder FOLDER", *asked]))
    return below(item, text)


def below(item: str, text: str) -> str:
    """An item's Markdown with the smaller heading."""
    return f"### {item} on MNIST\n" + text.partition("\n")[2]


def renewed(page: str, name: str, text: str) -> str:
    """The page with `text` between the marks of that name."""
    begin = BEGIN.format(name)
    assert begin in page, f"docs/papers.md has no {begin.strip()}"
    return re.sub(re.escape(begin) + ".*?" + re.escape(END), lambda _: begin + text + END, page, flags=re.DOTALL)


def shown(page: str, name: str) -> str:
    """What stands between the marks of that name."""
    return page.partition(BEGIN.format(name))[2].partition(END)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", nargs="*", metavar="ITEM")
    parser.add_argument("--mnist", metavar="FOLDER")
    asked = parser.parse_args()
    page = renewed(PAGE.read_text(), LIST, items_markdown(paper_items()))
    if asked.mnist:
        for item in asked.items or ON_MNIST:
            page = renewed(page, MNIST.format(item), of_mnist(item, asked.mnist))
    else:
        for item in asked.items or [item for item in ITEMS if item not in SLOW]:
            page = renewed(page, item, section(item))
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
