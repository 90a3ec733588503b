"""What is said of one warranty or contract at one instant: a code with arguments.

1. Codes are in databases and in other people's programs: only ever add.
2. Arguments whose names end in `_at` are instants (ns UTC).

No derivation here: see `warranty.py` and `contracts.py`; sentences are in `coverage_sentences.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from entitlements.codes import Arg
from entitlements.coverage_facts import CoverageFacts


class CoverCode(StrEnum):
    """What is said of one cover; only ever add. Arguments are those of the sentences."""

    NO_WARRANTY = "no_warranty"
    WARRANTY_NOT_YET = "warranty_not_yet"
    WARRANTY_WAITING = "warranty_waiting"
    WARRANTY = "warranty"
    WARRANTY_HOURS = "warranty_hours"
    WARRANTY_CYCLES = "warranty_cycles"
    WARRANTY_HOURS_CYCLES = "warranty_hours_cycles"
    WARRANTY_ENDED = "warranty_ended"
    WARRANTY_ENDED_HOURS = "warranty_ended_hours"
    WARRANTY_ENDED_CYCLES = "warranty_ended_cycles"
    WARRANTY_ENDED_OWNER = "warranty_ended_owner"
    CONTRACT_SCHEDULED = "contract_scheduled"
    CONTRACT = "contract"
    CONTRACT_INCIDENTS = "contract_incidents"
    CONTRACT_USED_UP = "contract_used_up"
    CONTRACT_ENDED = "contract_ended"
    CONTRACT_ENDED_OWNER = "contract_ended_owner"


class CoverKind(StrEnum):
    """What covers."""

    WARRANTY = "warranty"
    EXTENSION = "extension"
    CONTRACT = "contract"


@dataclass(frozen=True, slots=True)
class Cover:
    """The warranty or one contract at one instant.

    Args:
        kind: warranty or contract.
        id: of the contract; empty for the warranty.
        covered: whether it pays for a fault that begins at the instant.
        code: why.
        args: arguments of the code.
        transferable: whether it passes on to the next owner.
    """

    kind: CoverKind
    id: str
    covered: bool
    code: CoverCode
    args: Mapping[str, Arg]
    transferable: bool


def lost_at(facts: CoverageFacts, epoch: int) -> int | None:
    """Return when somebody else became the owner than who was in an epoch (0: the first)."""
    owner: str | None = None
    for one in sorted(facts.ownership, key=lambda one: one.epoch):
        if one.epoch < epoch:
            continue
        if owner is None:
            owner = one.owner_id
        elif one.owner_id != owner:
            return one.start
    return None
