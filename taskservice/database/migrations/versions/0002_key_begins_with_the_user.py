"""Task ids belong to their user, every user has an epoch, and lists sort by completion

Runs while requests are served, those of the previous release too.
"""

from alembic import context, op

from taskservice.database.migrations.online import briefly, create_index, in_the_background, primary_key, steps

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

EPOCH = "lower(translate(encode(substr(uuid_send(gen_random_uuid()), 1, 6), 'base64'::text), '+/'::text, '09'::text))"
BATCH = 1000


def upgrade() -> None:
    with steps():
        _add_epoch()
        create_index("ix_tasks_id", "tasks (id)")
        create_index(
            "ix_tasks_list_completed",
            "tasks (user_id, coalesce(completed_at, 'infinity'::timestamptz), id) WHERE deleted_at IS NULL",
        )
        _change_key("(user_id, id)")


def downgrade() -> None:
    with steps():
        # Fails, and changes nothing, if two users have taken the same id meanwhile.
        _change_key("(id)")
        in_the_background("DROP INDEX CONCURRENTLY IF EXISTS ix_tasks_list_completed")
        in_the_background("DROP INDEX CONCURRENTLY IF EXISTS ix_tasks_id")
        briefly("ALTER TABLE users DROP COLUMN IF EXISTS epoch")


def _add_epoch() -> None:
    briefly("ALTER TABLE users ADD COLUMN IF NOT EXISTS epoch text")
    briefly(f"ALTER TABLE users ALTER COLUMN epoch SET DEFAULT {EPOCH}")
    _fill_epochs()
    # PostgreSQL takes a valid constraint for proof, and does not read the table under an exclusive lock.
    briefly(
        "ALTER TABLE users DROP CONSTRAINT IF EXISTS ck_users_epoch, "
        "ADD CONSTRAINT ck_users_epoch CHECK (epoch IS NOT NULL) NOT VALID"
    )
    in_the_background("ALTER TABLE users VALIDATE CONSTRAINT ck_users_epoch")
    briefly("ALTER TABLE users ALTER COLUMN epoch SET NOT NULL")
    briefly("ALTER TABLE users DROP CONSTRAINT ck_users_epoch")


def _fill_epochs() -> None:
    if context.is_offline_mode():
        op.execute(f"UPDATE users SET epoch = {EPOCH} WHERE epoch IS NULL")  # noqa: S608 (constants)
        return
    last: str | None = ""
    while last is not None:
        last = briefly(
            f"WITH batch AS (SELECT id FROM users WHERE id > :last ORDER BY id LIMIT {BATCH} FOR NO KEY UPDATE), "  # noqa: S608
            f"filled AS (UPDATE users SET epoch = {EPOCH} FROM batch "
            "WHERE users.id = batch.id AND users.epoch IS NULL) "
            "SELECT max(id) FROM batch",
            last=last,
        ).scalar()


def _change_key(columns: str) -> None:
    if primary_key("tasks") == f"PRIMARY KEY {columns}":
        return
    create_index("pk_tasks_new", f"tasks {columns}", unique=True)
    briefly("ALTER TABLE tasks DROP CONSTRAINT pk_tasks, ADD CONSTRAINT pk_tasks PRIMARY KEY USING INDEX pk_tasks_new")
