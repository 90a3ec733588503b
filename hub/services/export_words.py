"""What is in an export, in the words of who reads it: one line for each file, English and German.

1. A file without a line here is described by its table; a test asks for a line for each.
"""

from collections.abc import Mapping
from typing import Final

FILES: Final[Mapping[str, tuple[str, str]]] = {
    "account": ("Your account.", "Ihr Konto."),
    "memberships": (
        "Households you belong or belonged to.",
        "Haushalte, zu denen Sie gehören oder gehörten.",
    ),
    "households": ("Your households.", "Ihre Haushalte."),
    "settings": (
        "What you want of all your products.",
        "Was Sie für alle Ihre Produkte eingestellt haben.",
    ),
    "sessions": ("When you signed in.", "Wann Sie sich angemeldet haben."),
    "passkeys": ("Your passkeys.", "Ihre Passkeys."),
    "external_identities": (
        "Accounts elsewhere you sign in with.",
        "Konten anderswo, mit denen Sie sich anmelden.",
    ),
    "sign_in_flows": ("Sign-ins that had begun.", "Begonnene Anmeldungen."),
    "api_keys": ("Keys for programs.", "Schlüssel für Programme."),
    "invitations": ("Invitations to and from you.", "Einladungen an Sie und von Ihnen."),
    "partner_grants": (
        "What partners may do with your products.",
        "Was Partner mit Ihren Produkten tun dürfen.",
    ),
    "orders": ("What you ordered once.", "Was Sie einmalig bestellt haben."),
    "products": ("Your products.", "Ihre Produkte."),
    "devices": (
        "What your products said of themselves.",
        "Was Ihre Produkte über sich selbst sagten.",
    ),
    "ownerships": ("When which product was yours.", "Wann Ihnen welches Produkt gehörte."),
    "transfer_offers": (
        "Products offered by you and to you.",
        "Von Ihnen und Ihnen angebotene Produkte.",
    ),
    "hand_overs": (
        "Products you prepared to hand over.",
        "Produkte, deren Übergabe Sie vorbereitet haben.",
    ),
    "disputes": ("Disputes about products.", "Streit um Produkte."),
    "receipts": (
        "Receipts for products that changed hands.",
        "Belege über Produkte, die den Besitzer wechselten.",
    ),
    "letters": ("What the hub wrote to you.", "Was Ihnen geschrieben wurde."),
    "billing_account": ("How you pay.", "Wie Sie bezahlen."),
    "invoices": ("Your invoices.", "Ihre Rechnungen."),
    "invoice_lines": ("What is on them.", "Was darauf steht."),
    "payments": ("Payments and refunds.", "Zahlungen und Erstattungen."),
    "payment_reversals": (
        "Payments that your bank or the vendor took back.",
        "Zahlungen, die Ihre Bank oder der Anbieter zurückgeholt hat.",
    ),
    "ledger": ("How they were booked.", "Wie sie verbucht wurden."),
    "agreements": ("What you agreed to pay regularly.", "Was Sie regelmäßig zahlen."),
    "agreement_bills": ("Which invoices that led to.", "Welche Rechnungen daraus wurden."),
    "agreement_items": ("What a period of it costs.", "Was ein Zeitraum davon kostet."),
    "promotions": ("Promotions you redeemed.", "Aktionen, die Sie eingelöst haben."),
    "usage_credit": ("Usage you were given.", "Verbrauch, der Ihnen gutgeschrieben wurde."),
    "usage_events": (
        "Usage that was told or corrected.",
        "Gemeldeter oder berichtigter Verbrauch.",
    ),
    "usage_levels": ("How much of a quota was used.", "Wie viel eines Kontingents verbraucht war."),
    "usage_statements": (
        "What you used in past periods.",
        "Was Sie in früheren Zeiträumen verbraucht haben.",
    ),
    "usage_thresholds": ("When you came near a limit.", "Wann Sie einer Grenze nahe kamen."),
    "subscriptions": ("Your subscriptions.", "Ihre Abonnements."),
    "subscription_terms": ("Earlier dates of subscriptions.", "Frühere Daten der Abonnements."),
    "holds": ("What was held back, and why.", "Was gesperrt war, und warum."),
    "feature_grants": ("Features you were given.", "Funktionen, die Ihnen gegeben wurden."),
    "warranty_extensions": ("Longer warranties.", "Garantieverlängerungen."),
    "support_contracts": ("Support contracts.", "Serviceverträge."),
    "health_certificates": ("Certificates for buyers.", "Zertifikate für Käufer."),
    "alerts": ("What was wrong with your products.", "Was mit Ihren Produkten nicht stimmte."),
    "alert_covers": ("Who pays for which fault.", "Wer für welchen Fehler zahlt."),
    "alert_feedback": ("What you thought of alerts.", "Was Sie von Meldungen hielten."),
    "findings": ("Single remarks of the detector.", "Einzelne Befunde der Erkennung."),
    "notices": ("Messages shown at your products.", "Hinweise an Ihren Produkten."),
    "commands": ("What your products were told to do.", "Was Ihren Produkten aufgetragen wurde."),
    "device_events": ("What happened at your products.", "Was an Ihren Produkten geschah."),
    "dead_letters": ("Messages that could not be read.", "Nachrichten, die nicht lesbar waren."),
    "usage": (
        "What you used in the present period.",
        "Was Sie im laufenden Zeitraum verbraucht haben.",
    ),
    "usage_corrections": ("Usage that was counted anew.", "Verbrauch, der neu gezählt wurde."),
    "cases": ("Your cases with support.", "Ihre Anfragen beim Service."),
    "case_messages": ("What was said in them.", "Was darin gesagt wurde."),
    "consents": ("What support was allowed to see.", "Was der Service sehen durfte."),
    "broken_glass": (
        "When support looked in an emergency.",
        "Wann der Service im Notfall nachsah.",
    ),
    "looks": ("Who looked at your products, and why.", "Wer Ihre Produkte ansah, und warum."),
    "audit": (
        "What you did that is kept as evidence.",
        "Was Sie taten und als Nachweis aufbewahrt wird.",
    ),
}

HEAD: Final = (
    (
        "Everything that this hub keeps of you",
        (
            "Files in records/ are JSON: a list of objects, times in UTC. Files in telemetry/ are what your\n"
            "products measured in your time, once as CSV and once as Parquet, by product and metric. Of the time\n"
            "whose single values are kept no more, files in aggregates/ have what is: for each minute, hour or day\n"
            "(`step_s` seconds from `start` on) how many there were, the least, the greatest, mean, first and last.\n"
            "What other people of your household did, and who works for support, is left out or named by what\n"
            "they are; so are secrets such as passwords, which are only kept as hashes."
        ),
    ),
    (
        "Alles, was dieser Hub von Ihnen gespeichert hat",
        (
            "Dateien in records/ sind JSON: eine Liste von Objekten, Zeiten in UTC. Dateien in telemetry/ sind,\n"
            "was Ihre Produkte in Ihrer Zeit gemessen haben, als CSV und als Parquet, je Produkt und Messgröße.\n"
            "Aus der Zeit, deren einzelne Werte nicht mehr aufbewahrt werden, enthalten Dateien in aggregates/, was\n"
            "es noch gibt: zu jeder Minute, Stunde oder jedem Tag (`step_s` Sekunden ab `start`) Anzahl, kleinsten,\n"
            "größten, mittleren, ersten und letzten Wert.\n"
            "Was andere Menschen Ihres Haushalts taten und wer beim Service arbeitet, fehlt oder ist nur der Art\n"
            "nach genannt; ebenso Geheimnisse wie Kennwörter, von denen es nur Prüfwerte gibt."
        ),
    ),
)
