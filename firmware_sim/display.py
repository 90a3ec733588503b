"""The display of a simulated product: who owns it, and what it may do and why, in plain words.

1. Sentences are codes plus arguments until somebody reads them; here they become English or German.
2. A line appears when something changed, so that it can be read what happened and in which order.
3. A code that this firmware does not know is shown as it is: the hub is updated more often.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Literal

from device_sdk.wire.state import FeatureGrant

Language = Literal["en", "de"]
KEPT: Final = 50

OWNER: Final = ("This product has a new owner.", "Dieses Gerät hat einen neuen Besitzer.")
NOBODY: Final = ("This product belongs to nobody now.", "Dieses Gerät gehört jetzt niemandem.")
ON: Final = ("{feature}: available. {why}", "{feature}: verfügbar. {why}")
OFF: Final = ("{feature}: not available. {why}", "{feature}: nicht verfügbar. {why}")
REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "safe_function": ("It always is.", "Das bleibt immer so."),
    "included": ("It comes with the product.", "Das gehört zum Gerät."),
    "plan": ("Part of your plan {plan}.", "Teil Ihres Tarifs {plan}."),
    "trial": ("Part of the free trial of {plan}.", "Teil der Probezeit von {plan}."),
    "grant": ("It was granted to you.", "Das wurde Ihnen gewährt."),
    "cancelled": ("Your plan {plan} is cancelled.", "Ihr Tarif {plan} ist gekündigt."),
    "grace": ("Please renew your plan {plan}.", "Bitte verlängern Sie Ihren Tarif {plan}."),
    "past_due": ("Your plan {plan} is being paid.", "Ihr Tarif {plan} wird gerade bezahlt."),
    "paused": ("Your plan {plan} is paused.", "Ihr Tarif {plan} ist pausiert."),
    "incomplete": ("Your plan {plan} is not paid yet.", "Ihr Tarif {plan} ist noch nicht bezahlt."),
    "withdrawn": ("You withdrew from plan {plan}.", "Sie haben Tarif {plan} widerrufen."),
    "scheduled": ("Your plan {plan} has not begun.", "Ihr Tarif {plan} hat noch nicht begonnen."),
    "lapsed": ("Your plan {plan} was not renewed.", "Ihr Tarif {plan} wurde nicht verlängert."),
    "ended": ("Your plan {plan} has ended.", "Ihr Tarif {plan} ist beendet."),
    "not_in_plan": ("Your plan {plan} lacks it.", "Ihr Tarif {plan} enthält es nicht."),
    "no_subscription": ("You have no plan.", "Sie haben keinen Tarif."),
    "hold": ("It is blocked. Ask the vendor.", "Es ist gesperrt. Fragen Sie den Hersteller."),
    "unclaimed": ("Claim this product first.", "Melden Sie das Gerät zuerst an."),
    "revoked": ("This product is blocked.", "Dieses Gerät ist gesperrt."),
    "expired_offline": (
        "Connect this product to renew it.",
        "Verbinden Sie das Gerät, um es zu erneuern.",
    ),
    "put_back": (
        "Its storage was put back. Connect it once.",
        "Sein Speicher wurde zurückgesetzt. Verbinden Sie es einmal.",
    ),
}


class Display:
    """What a product shows.

    Args:
        language: of its sentences.
    """

    def __init__(self, language: Language = "en") -> None:
        self._column = 0 if language == "en" else 1
        self._seen: dict[str, tuple[bool, str]] = {}
        self.lines: deque[str] = deque(maxlen=KEPT)

    def owner(self, epoch: int) -> None:
        """Show that the product has another owner; 0: nobody."""
        self.lines.append((OWNER if epoch else NOBODY)[self._column])

    def entitlements(self, grants: Mapping[str, FeatureGrant]) -> None:
        """Show what changed of what the product may do."""
        for feature, grant in sorted(grants.items()):
            if self._seen.get(feature) != (grant.allowed, grant.code):
                self._seen[feature] = grant.allowed, grant.code
                self.lines.append(self._sentence(feature, grant))

    def _sentence(self, feature: str, grant: FeatureGrant) -> str:
        texts = REASONS.get(grant.code)
        why = grant.code if texts is None else texts[self._column].format_map(_Given(grant))
        title = feature.replace("_", " ").capitalize()
        return (ON if grant.allowed else OFF)[self._column].format(feature=title, why=why)


class _Given(dict[str, Any]):
    """The arguments of a grant; one that is missing is left out of the sentence."""

    def __init__(self, grant: FeatureGrant) -> None:
        super().__init__(grant.arguments)

    def __missing__(self, key: str) -> str:
        return ""
