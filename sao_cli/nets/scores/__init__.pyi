"""How much each weight of a module matters before it is trained."""

from sao_cli.nets.scores.connection_sensitivity import snip as snip
from sao_cli.nets.scores.gradient_flow import grasp as grasp
from sao_cli.nets.scores.gradient_flow import grasp_abs as grasp_abs
from sao_cli.nets.scores.synaptic_flow import synflow as synflow
from sao_cli.nets.scores.foresight import iter_snip as iter_snip
from sao_cli.nets.scores.foresight import force as force
from sao_cli.nets.scores.foresight import shuffled_batches as shuffled_batches
from sao_cli.nets.scores.data_free import magnitude as magnitude
from sao_cli.nets.scores.data_free import random as random
from sao_cli.nets.scores.score_tensors import Scores as Scores
from sao_cli.pruning.scores.score_record import ScoreFacts as ScoreFacts
from sao_cli.nets.scores.prune_module import keep as keep
from sao_cli.nets.scores.checkpoint_scores import score_checkpoint as score_checkpoint
