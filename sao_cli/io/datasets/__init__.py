"""Labelled data: read from idx files, CIFAR's binary batches and .npz files by numpy alone."""
