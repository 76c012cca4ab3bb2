"""Loss functions, one a file: tensors in, a scalar out."""

from .best_patch_negative import best_patch_negative
from .box_regression import box_regression
from .conditioned_sigmoid import conditioned_sigmoid
from .contrastive import contrastive
from .cross_modal_ranking import RankingThreshold, cross_modal_ranking
from .hard_negative import hard_negative
from .intra_modal import intra_modal
from .margin_negative import margin_negative
from .masked_classification import masked_classification
from .next_token import next_token
from .owned_sigmoid import owned_sigmoid
from .pooled_negatives import pooled_negatives
from .principal_component import principal_component
from .proposal import proposal
from .regional import regional
from .sigmoid_contrastive import sigmoid_contrastive
from .soft_contrastive import soft_contrastive
from .token_hard_negative import token_hard_negative
from .token_triplet import token_triplet

__all__ = [
    "RankingThreshold",
    "best_patch_negative",
    "box_regression",
    "conditioned_sigmoid",
    "contrastive",
    "cross_modal_ranking",
    "hard_negative",
    "intra_modal",
    "margin_negative",
    "masked_classification",
    "next_token",
    "owned_sigmoid",
    "pooled_negatives",
    "principal_component",
    "proposal",
    "regional",
    "sigmoid_contrastive",
    "soft_contrastive",
    "token_hard_negative",
    "token_triplet",
]
