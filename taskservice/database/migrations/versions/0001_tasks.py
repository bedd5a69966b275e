"""Tasks of users, and the counters that order their changes"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("forgotten", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("revision >= forgotten", name=op.f("ck_users_revision")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "route", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("completed", sa.Boolean(), sa.Computed("status = 'completed'", persisted=True), nullable=False),
        sa.Column("priority", sa.Text(), server_default="medium", nullable=False),
        sa.Column("due_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_all_day", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name=op.f("ck_tasks_completed_at")),
        sa.CheckConstraint(
            "NOT due_all_day OR (due_date IS NOT NULL AND due_date = date_trunc('day', due_date, 'UTC'))",
            name=op.f("ck_tasks_due_all_day"),
        ),
        sa.CheckConstraint("priority IN ('low', 'medium', 'high')", name=op.f("ck_tasks_priority")),
        sa.CheckConstraint("status IN ('pending', 'in_progress', 'completed')", name=op.f("ck_tasks_status")),
        sa.CheckConstraint("char_length(description) <= 10000", name=op.f("ck_tasks_description")),
        sa.CheckConstraint(r"char_length(title) BETWEEN 1 AND 200 AND title ~ '\S'", name=op.f("ck_tasks_title")),
        sa.CheckConstraint("updated_at >= created_at", name=op.f("ck_tasks_updated_at")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_tasks_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
    )
    op.create_index("ix_tasks_feed", "tasks", ["user_id", "revision"], unique=False)
    op.create_index(
        "ix_tasks_list_created",
        "tasks",
        ["user_id", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_tasks_list_due",
        "tasks",
        ["user_id", sa.literal_column("coalesce(due_date, 'infinity'::timestamptz)"), "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_tasks_list_priority",
        "tasks",
        [
            "user_id",
            sa.literal_column("array_position(CAST(ARRAY['low', 'medium', 'high'] AS TEXT[]), priority)"),
            "id",
        ],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_tasks_list_status",
        "tasks",
        [
            "user_id",
            sa.literal_column("array_position(CAST(ARRAY['pending', 'in_progress', 'completed'] AS TEXT[]), status)"),
            "id",
        ],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_tasks_list_title",
        "tasks",
        ["user_id", sa.literal_column("lower(title)"), "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_tasks_list_updated",
        "tasks",
        ["user_id", "updated_at", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_tasks_trash",
        "tasks",
        ["user_id", "deleted_at", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index("ix_tasks_user_id_completed", "tasks", ["user_id", "completed"], unique=False)
    op.create_table(
        "tombstones",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_tombstones_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "revision", name=op.f("pk_tombstones")),
    )
    op.create_index(op.f("ix_tombstones_deleted_at"), "tombstones", ["deleted_at"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_tombstones_deleted_at"), table_name="tombstones")
    op.drop_table("tombstones")
    op.drop_index("ix_tasks_user_id_completed", table_name="tasks")
    op.drop_index("ix_tasks_trash", table_name="tasks", postgresql_where=sa.text("deleted_at IS NOT NULL"))
    op.drop_index("ix_tasks_list_updated", table_name="tasks", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index("ix_tasks_list_title", table_name="tasks", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index("ix_tasks_list_status", table_name="tasks", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index("ix_tasks_list_priority", table_name="tasks", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index("ix_tasks_list_due", table_name="tasks", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index("ix_tasks_list_created", table_name="tasks", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index("ix_tasks_feed", table_name="tasks")
    op.drop_table("tasks")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_table("users")
