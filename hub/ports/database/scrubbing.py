"""Takes what was deleted out of the database's own files: free pages, slack and the write-ahead log.

1. SQLite is written anew (VACUUM), and its log emptied. Writers wait meanwhile: 0.7 s of a processor for 100 MB, and as
   long as the disk takes to write that twice (measured with 217 MB: 11 to 12 s for all on a busy machine). Those of
   this process wait in their order for as long as half a minute, and only then as long as for any other lock.
2. PostgreSQL reclaims dead rows (VACUUM); their bytes are overwritten as pages are used again. Who must be sure at once
   runs VACUUM FULL at a quiet hour; its log and replicas are the operator's.
"""

from contextlib import closing
from typing import Any

from sqlalchemy import Engine

from hub.ports.database.engine import write_turn


def scrub(engine: Engine) -> bool:
    """Take deleted content out of the files.

    Args:
        engine: of the database; no transaction of this thread may be open.

    Returns:
        False if a reader kept the log from being emptied: try again soon.
    """
    if engine.dialect.name != "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM")
        return True
    with write_turn(engine), closing(engine.raw_connection()) as raw:
        driver: Any = raw.driver_connection
        driver.execute("PRAGMA query_only=OFF")
        driver.execute("VACUUM")
        busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
