"""A hub that lost its disk and was made anew of a backup taken under load: every promise older than it is kept."""

from pathlib import Path

import pytest

from tests.chaos import campaign

SEED = 11

pytestmark = pytest.mark.hub


def test_nothing_promised_before_a_backup_is_lost_and_the_rest_comes_again(tmp_path: Path) -> None:
    found = campaign.run(tmp_path, SEED, {"backup_restore": 1})
    broken = {name: found[name] for name in ("lost", "duplicates", "phantoms", "corrupt")}
    assert not any(broken.values()), found
    assert found["acked"] > 0
    assert found["faults"] == 1
