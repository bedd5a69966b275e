"""The schema as PostgreSQL's own catalogue tells it."""

from tests.support.services import Service


async def index_columns(service: Service, table: str) -> dict[str, list[str]]:
    """For each usable index of a table, what it is over: columns and expressions, and `WHERE` if it is partial."""
    rows = await service.rows(
        "SELECT indexrelid::regclass::text AS name, indpred IS NOT NULL AS partial, "
        "ARRAY(SELECT pg_get_indexdef(indexrelid, place, true) FROM generate_series(1, indnkeyatts) place) AS columns "
        "FROM pg_index WHERE indrelid = $1::text::regclass AND indisvalid AND indisready",
        table,
    )
    return {row["name"]: [*row["columns"], *(["WHERE"] if row["partial"] else [])] for row in rows}


async def schema_of(service: Service) -> list[str]:
    """Columns, indexes, constraints and triggers, a line each."""
    rows = await service.rows(
        "SELECT concat_ws(' ', 'column', table_name, column_name, data_type, is_nullable, column_default, "
        "generation_expression) AS line FROM information_schema.columns WHERE table_schema = 'public' "
        "UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public' "
        "UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)) "
        "FROM pg_constraint WHERE connamespace = 'public'::regnamespace "
        "UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
    )
    return [row["line"] for row in rows]
