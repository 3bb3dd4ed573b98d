"""A stand-in for the Hugging Face Hub on loopback, spoken to by the unmodified clients through `HF_ENDPOINT`.

It keeps model and dataset repos in memory, speaks the part of the Hub's HTTP protocol that `huggingface_hub`,
`datasets` and `transformers` use, answers errors as the Hub does, and breaks down on demand. Clients must run
with `HF_HUB_DISABLE_XET=1`: there is no Xet storage here. A request outside the protocol is answered 404 and
kept in `HubStandIn.unknown_requests`, so that a test notices.

    python -m tests.support.hub_stand_in --port 8001 --folder you/some-model=./model --folder datasets/you/data=./data
"""

from tests.support.hub_stand_in.front_door import HubRequest
from tests.support.hub_stand_in.repos import Token
from tests.support.hub_stand_in.stand_in import HubStandIn

__all__ = ["HubRequest", "HubStandIn", "Token"]
