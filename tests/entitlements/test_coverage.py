"""What covers a product: rules one by one, and properties over random facts."""

import datetime as dt
import string
from dataclasses import replace
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.contracts import term_of
from entitlements.coverage import coverage, covers_at, split, transferred
from entitlements.coverage_facts import (
    Contract,
    CoverageFacts,
    Extension,
    Reading,
    Use,
    WarrantyTerms,
)
from entitlements.coverage_sentences import TEMPLATES, sentence
from entitlements.covers import Cover, CoverCode, CoverKind
from entitlements.dates import SECOND
from entitlements.facts import Ownership
from entitlements.lifetime import Lifetime, advance
from entitlements.warranty import warranty

DAY = 86_400 * SECOND
BERLIN = "Europe/Berlin"
TERMS = WarrantyTerms(1, months=24, latest_start_months=6)


def at(text: str, zone: str = BERLIN) -> int:
    moment = dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return round(moment.timestamp()) * SECOND


MADE = at("2026-01-10T12:00")
FACTS = CoverageFacts(BERLIN, MADE, first_use_at=at("2026-03-01T18:00"), terms=TERMS)


def test_it_begins_with_the_first_use_and_ends_with_that_day_of_the_zone() -> None:
    end = at("2028-03-02T00:00")
    assert warranty(FACTS, end - 1).covered
    assert warranty(FACTS, end - 1).args == {"until_at": end}
    over = warranty(FACTS, end)
    assert (over.covered, over.code, over.args) == (
        False,
        CoverCode.WARRANTY_ENDED,
        {"since_at": end},
    )
    assert coverage(FACTS, MADE + 1).until == FACTS.first_use_at
    assert coverage(FACTS, FACTS.first_use_at or 0).until == end
    assert coverage(FACTS, end).until is None


def test_before_the_first_use_it_waits_covered_but_not_for_ever() -> None:
    unused = replace(FACTS, first_use_at=None)
    waiting = warranty(unused, at("2026-07-10T23:59"))
    assert (waiting.covered, waiting.code) == (True, CoverCode.WARRANTY_WAITING)
    assert waiting.args == {"latest_at": at("2026-07-11T00:00"), "months": 24}
    assert warranty(unused, at("2028-07-10T23:59")).code is CoverCode.WARRANTY
    assert not warranty(unused, at("2028-07-11T00:00")).covered
    late = replace(FACTS, first_use_at=at("2027-01-01T00:00"))
    assert covers_at(late, at("2028-07-11T00:00")) == covers_at(unused, at("2028-07-11T00:00"))
    assert warranty(FACTS, MADE - 1).code is CoverCode.WARRANTY_NOT_YET
    assert warranty(replace(FACTS, terms=None), MADE).code is CoverCode.NO_WARRANTY
    early = replace(FACTS, first_use_at=0)  # a device whose clock was wrong
    assert warranty(early, MADE).args == {"until_at": at("2028-01-11T00:00")}


def test_29_february_and_clocks_that_change() -> None:
    leap = replace(FACTS, made_at=at("2024-01-01T00:00"), first_use_at=at("2024-02-29T10:00"))
    one = replace(leap, terms=replace(TERMS, months=12))
    assert warranty(one, one.first_use_at or 0).args == {"until_at": at("2025-03-01T00:00")}
    four = replace(leap, terms=replace(TERMS, months=48))
    assert warranty(four, one.first_use_at or 0).args == {"until_at": at("2028-03-01T00:00")}
    # Used in summer time for seven months: the day ends in winter time.
    summer = replace(FACTS, terms=replace(TERMS, months=7), first_use_at=at("2026-04-30T20:00"))
    assert warranty(summer, summer.first_use_at or 0).args == {"until_at": at("2026-12-01T00:00")}
    # 23:30 in Berlin is another day than in UTC.
    late = replace(FACTS, first_use_at=at("2026-06-30T23:30"))
    assert warranty(late, late.first_use_at or 0).args == {"until_at": at("2028-07-01T00:00")}
    utc = replace(late, zone="Asia/Tokyo")
    assert warranty(utc, late.first_use_at or 0).args == {
        "until_at": at("2028-07-02T00:00", "Asia/Tokyo")
    }


def test_hours_or_cycles_may_end_it_first() -> None:
    metered = replace(
        FACTS,
        terms=replace(TERMS, hours=1_000.0, cycles=50.0),
        hours=tuple(Reading(at(f"2026-0{n}-01T00:00"), 300.0 * (n - 3)) for n in range(4, 9)),
        cycles=(Reading(at("2026-09-01T00:00"), 60.0),),
    )
    june = warranty(metered, at("2026-06-15T00:00"))
    assert june.code is CoverCode.WARRANTY_HOURS_CYCLES
    assert june.args == {
        "until_at": at("2028-03-02T00:00"),
        "hours_left": 100,
        "cycles_left": 50,
    }
    over = warranty(metered, at("2026-12-01T00:00"))
    assert over.code is CoverCode.WARRANTY_ENDED_HOURS
    assert over.args == {"since_at": at("2026-07-01T00:00")}
    assert coverage(metered, at("2026-06-15T00:00")).until == at("2026-07-01T00:00")
    more = replace(metered, extensions=(Extension("e", at("2026-08-15T00:00"), 12, hours=5_000.0),))
    assert not warranty(more, at("2026-08-14T00:00")).covered, "not for what was before it"
    assert warranty(more, at("2026-08-16T00:00")).covered
    assert warranty(more, at("2026-09-01T00:00")).code is CoverCode.WARRANTY_ENDED_CYCLES


def test_extensions_count_from_the_end_or_from_the_purchase() -> None:
    bought = Extension("e", at("2027-01-01T00:00"), 12)
    assert warranty(replace(FACTS, extensions=(bought,)), at("2027-06-01T00:00")).args == {
        "until_at": at("2029-03-02T00:00")
    }
    after = Extension("e", at("2028-05-05T10:00"), 12)
    facts = replace(FACTS, extensions=(after,))
    assert not warranty(facts, at("2028-05-05T09:00")).covered
    assert warranty(facts, at("2028-05-05T10:00")).args == {"until_at": at("2029-05-06T00:00")}


SOLD = at("2027-05-01T12:00")
TWO_OWNERS = (Ownership(1, "ada", MADE, SOLD), Ownership(2, "bob", SOLD))


def test_what_is_not_transferable_ends_with_the_owner() -> None:
    facts = replace(FACTS, terms=replace(TERMS, transferable=False), ownership=TWO_OWNERS)
    assert warranty(facts, SOLD - 1).covered
    over = warranty(facts, SOLD)
    assert (over.code, over.args) == (CoverCode.WARRANTY_ENDED_OWNER, {"since_at": SOLD})
    assert coverage(facts, SOLD - 1).until == SOLD
    back = replace(facts, ownership=(TWO_OWNERS[0], Ownership(2, "ada", SOLD + DAY)))
    assert warranty(back, SOLD + 2 * DAY).covered, "the same owner came back"
    assert warranty(replace(FACTS, ownership=TWO_OWNERS), SOLD).args == {
        "until_at": at("2028-03-02T00:00")
    }


def test_an_extension_may_stay_with_who_bought_it() -> None:
    sold = at("2028-06-01T00:00")
    own = Extension("own", at("2027-01-01T00:00"), 12, transferable=False, epoch=1)
    owners = (Ownership(1, "ada", MADE, sold), Ownership(2, "bob", sold))
    facts = replace(FACTS, extensions=(own,), ownership=owners)
    assert warranty(facts, sold - 1).covered
    lost = warranty(facts, sold)
    assert (lost.code, lost.args) == (CoverCode.WARRANTY_ENDED_OWNER, {"since_at": sold})


CARE = Contract("c1", "care", 1, at("2026-02-01T09:00"), months=12, terms=2, incidents=2, epoch=1)


def test_a_contract_has_terms_with_so_many_cases_each() -> None:
    facts = replace(FACTS, contracts=(CARE,), ownership=TWO_OWNERS[:1])

    def says(facts: CoverageFacts, when: str) -> Cover:
        return covers_at(facts, at(when))[1]

    assert says(facts, "2026-01-31T00:00").code is CoverCode.CONTRACT_SCHEDULED
    fresh = says(facts, "2026-02-01T09:00")
    assert (fresh.covered, fresh.args) == (
        True,
        {"plan": "care", "until_at": at("2028-02-01T00:00"), "incidents_left": 2},
    )
    used = replace(
        facts,
        ownership=(),
        uses=(Use("c1", at("2026-03-01T00:00")), Use("c1", at("2026-04-01T00:00"))),
    )
    assert says(used, "2026-03-15T00:00").args["incidents_left"] == 1
    up = says(used, "2026-05-01T00:00")
    assert (up.covered, up.code) == (False, CoverCode.CONTRACT_USED_UP)
    assert up.args["until_at"] == at("2027-02-01T00:00")
    assert says(used, "2027-02-01T00:00").args["incidents_left"] == 2, "a new term"
    back = replace(used, uses=(Use("c1", at("2026-03-01T00:00"), at("2026-03-05T00:00")),))
    assert says(back, "2026-03-02T00:00").args["incidents_left"] == 1
    assert says(back, "2026-03-06T00:00").args["incidents_left"] == 2
    assert says(used, "2028-02-01T00:00").code is CoverCode.CONTRACT_ENDED
    sold = replace(used, ownership=TWO_OWNERS)
    assert says(sold, "2027-06-01T00:00").code is CoverCode.CONTRACT_ENDED_OWNER
    ended = replace(used, contracts=(replace(CARE, ended_at=at("2026-02-15T00:00")),))
    assert says(ended, "2026-02-16T00:00").code is CoverCode.CONTRACT_ENDED
    assert term_of(CARE, BERLIN, CARE.start - 1) is None
    assert term_of(CARE, BERLIN, at("2028-02-01T00:00")) is None


def test_the_split_of_a_sale() -> None:
    own = Extension("own", at("2026-06-01T00:00"), 12, transferable=False, epoch=1)
    shared = Extension("shared", at("2026-07-01T00:00"), 6, epoch=1)
    gold = replace(CARE, id="c2", plan="gold", transferable=True, epoch=1)
    facts = replace(
        FACTS,
        extensions=(own, shared),
        contracts=(CARE, gold),
        ownership=(Ownership(1, "ada", MADE),),
    )
    when = at("2026-09-01T00:00")
    assert [(one.kind, one.id, one.passes, one.ends_at) for one in split(facts, when)] == [
        (CoverKind.WARRANTY, "", True, at("2028-09-02T00:00")),
        (CoverKind.EXTENSION, "own", False, when),
        (CoverKind.EXTENSION, "shared", True, None),
        (CoverKind.CONTRACT, "c1", False, when),
        (CoverKind.CONTRACT, "c2", True, at("2028-02-01T00:00")),
    ]
    personal = replace(facts, terms=replace(TERMS, transferable=False))
    assert [one.passes for one in split(personal, when)] == [False, False, False, False, True]
    assert split(facts, at("2040-01-01T00:00")) == ()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_products(data: st.DataObject) -> None:
    facts = data.draw(products())
    when = data.draw(instants)
    holds_and_until(facts, when)
    never_longer(facts, when, data.draw(st.lists(instants, min_size=8, max_size=8)))
    order_does_not_matter(facts, when)


def holds_and_until(facts: CoverageFacts, when: int) -> None:
    """What is said at an instant holds until then, and no longer."""
    found = coverage(facts, when)
    codes = [cover.code for cover in found.covers]
    end = found.until
    for later in range(when, min(end or 2**62, when + 1_500 * DAY), 50 * DAY):
        assert [cover.code for cover in covers_at(facts, later)] == codes
    if end is not None:
        assert end > when
        assert [cover.code for cover in covers_at(facts, end - 1)] == codes
        assert [cover.code for cover in covers_at(facts, end)] != codes
    for cover in found.covers:
        assert sentence(cover.code, cover.args)


def never_longer(facts: CoverageFacts, when: int, looks: list[int]) -> None:
    """Whoever becomes the owner: nothing covers that would not have covered otherwise."""
    after = transferred(facts, when)
    before = replace(facts, ownership=tuple(one for one in facts.ownership if one.start <= when))
    for look in [*looks, when, when - 1]:
        for mine, theirs in zip(covers_at(before, look), covers_at(after, look), strict=True):
            assert mine.covered or not theirs.covered
            if look < when:
                assert mine.covered == theirs.covered
    for one in split(before, when):
        covered = {(cover.kind, cover.id): cover.covered for cover in covers_at(after, when)}
        if one.kind is CoverKind.WARRANTY:
            assert covered[one.kind, one.id] == one.passes


def order_does_not_matter(facts: CoverageFacts, when: int) -> None:
    backwards = replace(
        facts,
        extensions=facts.extensions[::-1],
        hours=facts.hours[::-1],
        cycles=facts.cycles[::-1],
        contracts=facts.contracts[::-1],
        uses=facts.uses[::-1],
        ownership=facts.ownership[::-1],
    )
    assert coverage(backwards, when) == coverage(facts, when)


instants = st.integers(0, 2_500).map(lambda days: MADE + days * DAY // 2)


@st.composite
def products(draw: st.DrawFn) -> CoverageFacts:
    changes = sorted(draw(st.sets(instants, max_size=3)))
    ends = [*changes[1:], None]
    owners = tuple(
        Ownership(n, draw(st.sampled_from(["ada", "bob", "eve"])), start, end)
        for n, (start, end) in enumerate(zip(changes, ends, strict=False), 1)
    )
    limit = st.none() | st.floats(1, 1_000)
    rises = st.dictionaries(instants, st.floats(0, 400), max_size=4)

    def readings() -> tuple[Reading, ...]:
        total, found = 0.0, []
        for when, more in sorted(draw(rises).items()):
            total += more
            found.append(Reading(when, total))
        return tuple(found)

    epochs = st.integers(0, max(len(owners), 1))
    extensions = tuple(
        Extension(f"e{n}", draw(instants), draw(st.integers(1, 30)), draw(st.floats(0, 500)),
                  draw(st.floats(0, 500)), draw(st.booleans()), draw(epochs))
        for n in range(draw(st.integers(0, 3)))
    )  # fmt: skip
    contracts = tuple(
        Contract(f"c{n}", "care", 1, draw(instants), draw(st.integers(1, 13)),
                 draw(st.integers(1, 3)), draw(st.none() | st.integers(0, 2)),
                 draw(st.booleans()), draw(epochs), draw(st.none() | instants))
        for n in range(draw(st.integers(0, 2)))
    )  # fmt: skip
    uses = tuple(
        Use(one.id, when, draw(st.none() | st.just(when + 20 * DAY)))
        for one in contracts
        for when in draw(st.lists(instants, max_size=3))
    )
    terms = st.builds(
        WarrantyTerms,
        st.just(1),
        st.integers(1, 36),
        st.integers(0, 12),
        st.booleans(),
        limit,
        limit,
    )
    return CoverageFacts(
        draw(st.sampled_from([BERLIN, "Pacific/Auckland", "America/St_Johns"])),
        MADE,
        draw(st.none() | instants),
        draw(st.none() | terms),
        extensions,
        readings(),
        readings(),
        contracts,
        uses,
        owners,
    )


def test_every_code_has_a_sentence() -> None:
    assert set(TEMPLATES) == set(CoverCode)
    for code, template in TEMPLATES.items():
        names = [name for _, name, _, _ in string.Formatter().parse(template) if name]
        assert sentence(code, {name: 1 if name.endswith("_at") else 3 for name in names})


def read(*values: float) -> float:
    meter: Lifetime | None = None
    for value in values:
        meter = advance(meter, value)
    return meter.total if meter else 0.0


def test_a_meter_never_falls() -> None:
    assert read(10, 20, 25) == 25
    assert read(100, 5, 8) == 108, "it began again"
    assert read(1_000, 3, 1_001) == 1_001, "a slip"
    assert read(1_000, 0, 10, 990, 1_010) == 2_010, "a reset that lasted"
    assert read(5, float("nan"), -1, float("inf"), 6) == 6
    assert read() == 0


@given(st.lists(st.floats(0, 1e9) | st.just(float("nan")), max_size=30))
def test_a_total_rises_and_is_never_more_than_all_that_was_counted(values: list[float]) -> None:
    meter: Lifetime | None = None
    total = 0.0
    for value in values:
        meter = advance(meter, value)
        assert meter is None or meter.total >= total - 1e-3
        total = meter.total if meter else 0.0
    known = [value for value in values if value == value]  # noqa: PLR0124  not NaN
    runs = sum(max(value, 0) for value in known)
    assert total <= runs + 1e-3


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_without_resets_a_total_is_the_reading(rises: list[float]) -> None:
    meter, value = None, 0.0
    for rise in rises:
        value += rise
        meter = advance(meter, value)
    assert meter is not None
    assert abs(meter.total - value) < 1e-6
