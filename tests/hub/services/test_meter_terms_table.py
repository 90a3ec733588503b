"""Terms that are changed a product at a time say the same as terms that are compiled at once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.billing.meters import Aggregation, Meter
from hub.services.meter_terms import AccountTerms, MeterTerms
from hub.services.meter_terms_table import TermsTable, compile_terms

METERS = tuple(Meter(f"m{number}", number, Aggregation.COUNT) for number in range(3))
EDGES = ((10, 20, 30), (10, 25), (5, 15, 25, 35))
MARKS = ((), (1,), (2, 5, 9), (3, 4))

one = st.tuples(st.sampled_from(EDGES), st.sampled_from(MARKS))
puts = st.tuples(st.integers(1, 9), st.dictionaries(st.integers(0, 2), one, max_size=3))


def told(terms: MeterTerms) -> list[tuple[int, int, list[int], list[int]]]:
    """What readers find for each slot."""
    return [
        (
            slot,
            int(terms.meter[row]),
            terms.edges_of(row).tolist(),
            terms.marks_of(row).tolist(),
        )
        for slot, (first, end) in enumerate(terms.span.tolist())
        for row in range(first, end)
    ]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(puts, st.sampled_from(["patch", "whole", "restart", "nothing"]))))
def test_patches_add_up_to_what_is_compiled_at_once(
    deeds: list[tuple[tuple[int, dict[int, tuple[tuple[int, ...], tuple[int, ...]]]], str]],
) -> None:
    table = TermsTable(METERS)
    read: dict[str, object] | None = None
    agreed: dict[int, list[AccountTerms]] = {}
    for (slot, found), deed in deeds:
        accounts = [AccountTerms(slot, meter, *found[meter]) for meter in sorted(found)]
        assert table.put(slot, accounts) == (agreed.get(slot, []) != accounts)
        assert not table.put(slot, accounts)
        agreed[slot] = accounts
        every = [account for listed in agreed.values() for account in listed]
        if deed == "nothing":
            continue
        if deed == "restart":
            table = TermsTable(METERS, MeterTerms.of(table.exact().arrays()))
        patch = None if deed == "whole" else table.patch()
        if patch is None or read is None:
            whole = table.whole()
            assert whole.slot[: whole.accounts].tolist() == sorted(a.slot for a in every)
            read = {name: array.copy() for name, array in whole.arrays().items()}
        else:
            for name, (rows, values) in patch.items():
                read[name][rows] = values  # type: ignore[index]
        terms = MeterTerms.of(read)  # type: ignore[arg-type]
        assert terms is not None
        assert told(terms) == told(compile_terms(METERS, every))
        assert terms.accounts == len(every)
