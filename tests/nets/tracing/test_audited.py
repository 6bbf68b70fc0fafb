"""The audit of a module as it ran: whose rows are asked for, several at once, two audits side by side, wrappers."""

import copy
import math
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sao_cli import SaoError, audit_model

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch's own forward mode uses it


class Residual(nn.Module):
    """A shortcut past a convolution, and a head that is pruned."""

    def __init__(self):
        super().__init__()
        self.stem, self.branch = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        h = torch.relu(self.stem(x))
        return self.head((h + self.branch(h)).mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Residual()


EXAMPLE = torch.ones(1, 1, 4, 4)


def plain(found):
    """The reports as dictionaries, in which nan is no trouble."""
    return [{key: repr(value) for key, value in one.to_dict().items()} for one in found]


def test_rows_that_are_asked_for_and_the_network_whole(net):
    whole = audit_model(net, EXAMPLE)
    found = audit_model(net, EXAMPLE, include="*.weight", exclude=["head.*"])
    assert [row.name for row in found.rows] == ["stem.weight", "branch.weight"]
    assert plain(found.rows) == plain(whole.rows[:2])
    assert found.network == whole.network
    assert found.recorded.layers == whole.recorded.layers
    assert found.summary.tensors == 2
    assert [row.name for row in audit_model(net, EXAMPLE, include="*.bias").rows] == [
        "stem.bias",
        "branch.bias",
        "head.bias",
    ]
    with pytest.raises(SaoError, match=r"'\*\.wieght' matches none of 6 names; the nearest are"):
        audit_model(net, EXAMPLE, include="*.wieght")
    with pytest.raises(SaoError, match="leave none of 6 tensors"):
        audit_model(net, EXAMPLE, exclude="*")


def test_checks_look_at_the_rows_that_are_asked_for(net):
    with torch.no_grad():
        net.branch.weight.zero_()
    checks = ["effective>0", "reachable==1"]
    assert [one.name for one in audit_model(net, EXAMPLE, checks=checks).failures] == ["branch.weight"]
    assert audit_model(net, EXAMPLE, checks=checks, exclude="branch.*").failures == []


def test_several_jobs_give_the_same_rows(net):
    assert plain(audit_model(net, EXAMPLE, jobs=3)) == plain(audit_model(net, EXAMPLE))
    with pytest.raises(SaoError, match="jobs 0"):
        audit_model(net, EXAMPLE, jobs=0)


def test_what_changed_since_an_earlier_audit(net):
    before = audit_model(copy.deepcopy(net), EXAMPLE)
    with torch.no_grad():
        net.head.weight[:, 0] = 0
        net.head.weight[1] = 0
    after = audit_model(net, EXAMPLE)
    stem, branch, head = after.since(before)
    assert (head.name, head.status) == ("head.weight", "changed")
    assert head.changes["effective"] == {"before": 6, "after": 2, "difference": -4}
    assert stem.changes["lost_outputs"] == {"before": 0, "after": 1, "difference": 1}  # its own numbers are the same
    assert "digest" not in stem.changes
    assert branch.changes["effective"] == {"before": 27, "after": 18, "difference": -9}
    network = after.network_since(before)
    assert (network.name, network.status) == ("network", "changed")
    assert network.changes["unreached_outputs"] == {"before": 0, "after": 1, "difference": 1}
    kept = math.prod(net.stem.weight.shape) - 9 + 18 + 2
    assert network.changes["effective_sparsity"]["after"] == pytest.approx(1 - kept / (27 + 27 + 6))
    assert {one.status for one in after.since(after)} == {"same"}
    assert after.network_since(after).status == "same"


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda net: torch.compile(nn.DataParallel(net))])
def test_wrapped_modules_are_what_they_hold(net, wrap):
    assert plain(audit_model(wrap(net), EXAMPLE)) == plain(audit_model(net, EXAMPLE))


def test_a_frame_has_a_line_a_report(net, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda records: records))
    found = audit_model(net, EXAMPLE)
    frame = found.to_frame()
    assert frame == [one.to_dict() for one in found]
    assert [(line["record"], line.get("name")) for line in frame] == [
        *[("layer", row.name) for row in found.rows],
        ("network", None),
    ]
