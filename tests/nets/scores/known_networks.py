"""The networks of the known values of pruning at initialisation, as their text has them."""

import itertools

import numpy as np
import torch
from torch import nn


def filled(model):
    """The k-th weight of all, from 1, is sin(k^2) / sqrt(fan_in)."""
    first = 1
    with torch.no_grad():
        for one in model.parameters():
            k = np.arange(first, first + one.numel(), dtype=float)
            fan_in = one[0].numel()
            one.copy_(torch.from_numpy((np.sin(k**2) / np.sqrt(fan_in)).reshape(one.shape)))
            first += one.numel()
    return model


def pixels(count, *shape):
    k = np.arange(1, count * np.prod(shape) + 1, dtype=float)
    return torch.from_numpy(np.cos(k**2).reshape(count, *shape))


def net_a(activation=nn.Tanh):
    """MLP 6-5-4-3 without biases."""
    layers = [[nn.Linear(n, m, bias=False), activation()] for n, m in itertools.pairwise((6, 5, 4, 3))]
    return filled(nn.Sequential(*list(itertools.chain(*layers))[:-1]).double())


def batch_a():
    return pixels(8, 6), torch.arange(8) % 3


def cnn():
    """6 x 6 pixels, two convolutions and a linear layer, tanh between them, no biases."""
    return filled(
        nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False),
            nn.Tanh(),
            nn.Conv2d(4, 3, 3, stride=2, padding=1, bias=False),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(27, 3, bias=False),
        ).double()
    )


def batch_cnn():
    return pixels(6, 1, 6, 6), torch.arange(6) % 3


def places(masks):
    """The flat places of the ones, over all layers in order."""
    return np.flatnonzero(np.concatenate([mask.numpy().reshape(-1) for mask in masks.values()])).tolist()
