"""Small networks of every kind, to be pruned at random."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x):
        h = F.relu(self.a(x))
        return self.c(h + F.relu(self.b(h)))


class Gated(nn.Module):
    def __init__(self, bias):
        super().__init__()
        self.g, self.u, self.d = nn.Linear(6, 9, bias), nn.Linear(6, 9, bias), nn.Linear(9, 4, bias)

    def forward(self, x):
        return self.d(F.silu(self.g(x)) * self.u(x))


class Concatenated(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(9, 4)

    def forward(self, x):
        h = F.relu(self.a(x))
        return self.c(torch.cat([self.b(h), h], -1))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.a(x)
        for _ in range(2):
            h = torch.tanh(self.b(h))
        return self.c(h)


class InputsFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(6, 9)), nn.Parameter(torch.randn(9))
        self.d = nn.Linear(9, 4)

    def forward(self, x):
        return self.d(F.gelu(torch.addmm(self.b, x, self.w)))


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(5, 4, 3, stride=2, padding=1)
        self.f = nn.Linear(16, 3)

    def forward(self, x):
        return self.f(F.relu(self.b(F.relu(self.a(x)))).flatten(1))


class Depthwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return self.c(F.relu6(self.b(F.relu6(self.a(x))))).mean((2, 3))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.u, self.o = nn.ConvTranspose2d(6, 3, 2, 2), nn.Conv2d(7, 2, 1)

    def forward(self, x):
        h = F.relu(self.a(x))
        return self.o(torch.cat([self.u(F.relu(self.b(F.max_pool2d(h, 2)))), h], 1))


class Shuffled(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.f = nn.Conv2d(2, 6, 1), nn.Linear(12, 4)

    def forward(self, x):
        p, q = self.a(x).chunk(2, 1)
        return self.f((p + 2 * q.flip(1)).permute(0, 2, 3, 1).flatten(1))


class Excited(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.r, self.e, self.b = (
            nn.Conv2d(2, 8, 1),
            nn.Conv2d(8, 3, 1),
            nn.Conv2d(3, 8, 1),
            nn.Conv2d(8, 4, 1),
        )

    def forward(self, x):
        h = self.a(x)
        return self.b(h * torch.sigmoid(self.e(F.silu(self.r(h.mean((2, 3), keepdim=True))))))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(6, 6) for _ in range(4))

    def forward(self, x):
        q, k, v = (one(x).unflatten(-1, (2, 3)).transpose(1, 2) for one in (self.q, self.k, self.v))
        mixed = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        return self.o(mixed.transpose(1, 2).flatten(2))


class Fused(Attention):
    def forward(self, x):
        q, k, v = (one(x).unflatten(-1, (2, 3)).transpose(1, 2) for one in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.o(mixed.transpose(1, 2).flatten(2))


class Sequences(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv1d(3, 6, 3, padding=2, dilation=2), nn.ConvTranspose1d(6, 4, 3, stride=2)

    def forward(self, x):
        return F.relu(self.b(F.leaky_relu(self.a(x))))[..., ::2]


class Split(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        first, second = F.softplus(self.a(x)).split(4, -1)
        return torch.stack([self.b(first), self.c(second)], -1).sum(-1) - torch.maximum(self.b(second), self.c(first))


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 1, stride=2, bias=False), nn.Conv2d(4, 3, 2, bias=False)

    def forward(self, x):
        return self.b(F.pad(self.a(x), (1, 0, 0, 1))).flatten(1)


class Volumes(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv3d(1, 4, 2), nn.Conv3d(4, 3, 2, groups=1)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x))).mean((2, 3, 4))


class Cells(nn.Module):
    """A recurrent layer by hand."""

    def __init__(self):
        super().__init__()
        self.i, self.h, self.o = nn.Linear(4, 5), nn.Linear(5, 5, bias=False), nn.Linear(5, 3)

    def forward(self, x):
        state = x.new_zeros(x.shape[0], 5)
        for step in x.unbind(1):
            state = torch.tanh(self.i(step) + self.h(state))
        return self.o(state)


def normed(*layers):
    """A stack whose scales are 0 in places."""
    net = nn.Sequential(*layers)
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
                layer.weight[::3] = 0
    return net


ZOO = {
    "mlp": (lambda: nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 4)), (1, 8)),
    "without biases": (lambda: nn.Sequential(nn.Linear(8, 9, False), nn.Tanh(), nn.Linear(9, 4, False)), (1, 8)),
    "residual": (Residual, (1, 6)),
    "gated": (lambda: Gated(True), (1, 6)),
    "gated without biases": (lambda: Gated(False), (1, 6)),
    "concatenated": (Concatenated, (1, 6)),
    "tied": (Tied, (1, 6)),
    "inputs first": (InputsFirst, (1, 6)),
    "images": (Images, (1, 2, 4, 4)),
    "depthwise": (Depthwise, (1, 3, 4, 4)),
    "U-Net": (UNet, (1, 2, 4, 4)),
    "shuffled": (Shuffled, (1, 2, 2, 2)),
    "excited": (Excited, (1, 2, 2, 2)),
    "attention": (Attention, (1, 3, 6)),
    "fused attention": (Fused, (1, 3, 6)),
    "mixed": (lambda: nn.Sequential(nn.Linear(6, 8), nn.Softmax(-1), nn.Linear(8, 4)), (1, 6)),
    "sequences": (Sequences, (1, 3, 5)),
    "split": (Split, (1, 6)),
    "padded": (Padded, (1, 1, 4, 4)),
    "volumes": (Volumes, (1, 1, 3, 3, 3)),
    "recurrent": (Cells, (1, 3, 4)),
    "layer norm": (lambda: normed(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 4)), (1, 6)),
    "batch norm": (
        lambda: normed(nn.Conv2d(3, 9, 1, bias=False), nn.BatchNorm2d(9), nn.ReLU(), nn.Conv2d(9, 4, 1, bias=False)),
        (1, 3, 2, 2),
    ),
    "group norm": (lambda: normed(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 1)), (1, 3, 4, 4)),
    "pooled": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 2), nn.AdaptiveMaxPool2d(2), nn.Conv2d(4, 3, 2), nn.Flatten()),
        (1, 2, 6, 6),
    ),
}


class OnePixel(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Conv2d(4, 2, 1, bias=False)

    def forward(self, x):
        return self.b(F.relu(self.a(x)))


class Strided(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 1, stride=2, bias=False), nn.Conv2d(4, 3, 2, bias=False)

    def forward(self, x):
        return self.b(self.a(x)).flatten(1)
