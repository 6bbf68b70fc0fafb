"""The poster's trainings: one that diverges has no accuracy, and the entries say so."""

import pytest

from sao_cli.nets.experiments.error_rates import ErrorRates
from sao_cli.nets.training.loop import DivergedError
from sao_cli.study.papers import chaos_poster
from sao_cli.study.papers.cells import Asked


def outcomes(monkeypatch, *errors):
    """Trainings with these test errors in percent, one after another; None is one that diverges."""
    left = list(errors)

    def trained(settings, folder, *, seeds):
        error = left.pop(0)
        if error is None:
            raise DivergedError("epoch 3: the training loss is nan")
        return ErrorRates(settings, 1, 1, 1, (error,), (error,))

    monkeypatch.setattr(chaos_poster, "error_rates", trained)


def witness(item, key, measured):
    [cell] = [cell for part in item(Asked()) for cell in part.cells if cell.key == key][:1]
    return cell.witness(measured)


@pytest.mark.parametrize(
    ("error", "accuracy", "fails", "said"),
    [
        (None, None, 1, "test accuracy none (training diverged)"),
        (88, 12, 1, "test accuracy 12.0 %"),
        (75, 25, 0, "test accuracy 25.0 %"),
    ],
)
def test_what_is_too_sparse_fails_by_diverging_or_at_chance(monkeypatch, error, accuracy, fails, said):
    outcomes(monkeypatch, error)
    found = chaos_poster.too_sparse("digits", None, epochs=1, seed=0)
    assert found == {"accuracy": accuracy, "fails": fails}
    assert witness(chaos_poster.failures, "fails", found) == said


@pytest.mark.parametrize(
    ("errors", "kept"), [((10, 8), 1), ((14, 8), 0), ((None, 8), 0), ((10, None), None), ((None, None), None)]
)
def test_accuracy_is_retained_only_beside_one_that_there_is(monkeypatch, errors, kept):
    outcomes(monkeypatch, *errors)
    found = chaos_poster.retained("cst", "digits", None, epochs=1, seed=0)
    assert found["retained"] == kept
    assert ("diverged" in witness(chaos_poster.accuracies, "retained", found)) is (None in errors)
