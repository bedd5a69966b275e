"""Every form of URL that providers print leads to the right connection, and no other is accepted in silence."""

import ssl
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from taskservice.database.session import new_engine
from taskservice.settings import SettingsError, load_settings
from taskservice.settings.database_url import BadDatabaseUrl, ConnectionTarget, Pooler, read_database_url
from tests.support.postgres import ThrowawayPostgres
from tests.support.tls import tls_in_front_of

NEON = (
    "postgresql://neondb_owner:npg_S3cr3t@ep-cool-darkness-123456-pooler.us-east-2.aws.neon.tech/neondb"
    "?sslmode=require&channel_binding=require"
)
HEROKU = "postgres://uabc:p0123456789abcdef@ec2-52-1-2-3.compute-1.amazonaws.com:5432/d1e2f3"
SUPABASE = "postgresql://postgres.abcdefgh:s3cret@aws-0-eu-central-1.pooler.supabase.com:{port}/postgres"


def is_verified(target: ConnectionTarget) -> bool:
    return isinstance(target.ssl, ssl.SSLContext) and target.ssl.verify_mode is ssl.CERT_REQUIRED


class TestProviders:
    def test_neon_is_pooled_and_verified_and_its_direct_host_is_derived(self) -> None:
        target = read_database_url(NEON)
        assert (target.user, target.password, target.database) == ("neondb_owner", "npg_S3cr3t", "neondb")
        assert target.pooled
        assert is_verified(target)
        assert isinstance(target.ssl, ssl.SSLContext)
        assert target.ssl.check_hostname
        direct = target.direct
        assert direct is not None
        assert direct.host == "ep-cool-darkness-123456.us-east-2.aws.neon.tech"
        assert not direct.pooled
        assert is_verified(direct)
        assert direct.password == "npg_S3cr3t"

    def test_the_command_a_console_prints_may_be_pasted_whole(self) -> None:
        assert read_database_url(f"  psql '{NEON}'\n") == read_database_url(NEON)

    def test_neon_without_sslmode_is_verified_all_the_same(self) -> None:
        assert is_verified(read_database_url(NEON.partition("?")[0]))

    def test_neon_under_another_brand_has_a_direct_host_as_well(self) -> None:
        target = read_database_url("postgres://u:p@ep-a-b-1-pooler.us-east-1.postgres.vercel-storage.com/verceldb")
        assert target.direct is not None
        assert target.direct.host == "ep-a-b-1.us-east-1.postgres.vercel-storage.com"

    def test_heroku_is_direct_and_prefers_tls(self) -> None:
        target = read_database_url(HEROKU)
        assert (target.host, target.port) == ("ec2-52-1-2-3.compute-1.amazonaws.com", 5432)
        assert target.ssl == "prefer"
        assert not target.pooled
        assert target.direct is target

    def test_supabase_is_pooled_on_its_transaction_port_only(self) -> None:
        pooled = read_database_url(SUPABASE.format(port=6543))
        assert pooled.pooled
        assert pooled.direct is not None
        assert (pooled.direct.port, pooled.direct.pooled) == (5432, False)
        assert not read_database_url(SUPABASE.format(port=5432)).pooled

    def test_supabase_for_prisma_says_itself_that_it_is_pooled(self) -> None:
        assert read_database_url("postgres://u:p@pooler.example.org/d?pgbouncer=true").pooled

    @pytest.mark.parametrize(
        "scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg2", "POSTGRES"]
    )
    def test_every_scheme_means_the_same(self, scheme: str) -> None:
        assert read_database_url(f"{scheme}://u:p@h:6000/d") == read_database_url("postgresql://u:p@h:6000/d")


class TestParts:
    @pytest.mark.parametrize(
        ("written", "password"),
        [("p%40ss%2Fw%3Ard%25", "p@ss/w:rd%"), ("a+b", "a+b"), ("h#sh", "h#sh"), ("at@at", "at@at"), ("a:b", "a:b"),
         ("100%", "100%"), ("%C3%A4", "ä"), ("", "")],
    )  # fmt: skip
    def test_passwords_arrive_as_they_are(self, written: str, password: str) -> None:
        assert read_database_url(f"postgres://u:{written}@h/d").password == password

    def test_no_password_is_none(self) -> None:
        assert read_database_url("postgres://u@h/d").password is None

    def test_port_and_database_have_defaults(self) -> None:
        target = read_database_url("postgres://u@Example.ORG")
        assert (target.host, target.port, target.database) == ("example.org", 5432, "u")

    def test_an_ipv6_address_is_read_and_shown_in_brackets(self) -> None:
        target = read_database_url("postgres://u@[::1]:6000/d")
        assert (target.host, target.port) == ("::1", 6000)
        assert target.redacted == "postgresql://u@[::1]:6000/d"

    @pytest.mark.parametrize("url", ["postgresql://u@/d?host=/run/Pg&port=6000", "postgresql://u@%2Frun%2FPg:6000/d"])
    def test_a_unix_socket_is_reached_by_its_directory(self, url: str) -> None:
        target = read_database_url(url)
        assert (target.host, target.port, target.database, target.ssl) == ("/run/Pg", 6000, "d", False)

    def test_application_name_and_timeout_are_taken_from_the_url(self) -> None:
        arguments = read_database_url(
            "postgres://u@h/d?application_name=my%20app&connect_timeout=15"
        ).asyncpg_arguments()
        assert arguments["server_settings"] == {"application_name": "my app"}
        assert arguments["timeout"] == 15

    def test_the_application_has_a_name_without_being_told(self) -> None:
        arguments = read_database_url("postgres://u@h/d").asyncpg_arguments()
        assert arguments["server_settings"] == {"application_name": "taskservice"}


class TestPoolers:
    def test_settings_of_the_session_reach_a_direct_connection_only(self) -> None:
        session = {"statement_timeout": "5s"}
        direct = read_database_url(HEROKU).asyncpg_arguments(session)
        assert direct["server_settings"] == {"statement_timeout": "5s", "application_name": "taskservice"}
        assert "statement_cache_size" not in direct
        pooled = read_database_url(NEON).asyncpg_arguments(session)
        assert pooled["server_settings"] == {"application_name": "taskservice"}
        assert pooled["statement_cache_size"] == 0

    def test_the_setting_outranks_the_address(self) -> None:
        assert not read_database_url(NEON).with_pooler("false").pooled
        assert read_database_url(HEROKU).with_pooler("true").pooled

    def test_behind_an_unknown_pooler_there_is_no_direct_target(self) -> None:
        assert read_database_url(HEROKU).with_pooler("true").direct is None

    def test_a_direct_url_is_used_when_given(self) -> None:
        environ = {"DATABASE_URL": HEROKU, "TASKSERVICE_DATABASE_POOLER": "true", "BETTER_AUTH_SECRET": "x" * 32}
        target = load_settings(environ | {"DATABASE_DIRECT_URL": "postgres://m:q@direct/d"}).database
        assert target is not None
        assert target.direct is not None
        assert (target.direct.host, target.direct.user, target.direct.pooled) == ("direct", "m", False)

    def test_without_a_pooler_a_direct_url_is_not_needed(self) -> None:
        environ = {
            "DATABASE_URL": HEROKU,
            "BETTER_AUTH_SECRET": "x" * 32,
            "DATABASE_DIRECT_URL": "postgres://m:q@other/d",
        }
        target = load_settings(environ).database
        assert target is not None
        assert target.direct is target

    def test_what_is_printed_for_prismas_own_pool_is_passed_over(self) -> None:
        assert read_database_url("postgres://u:p@h:6543/d?pgbouncer=true&connection_limit=1&pool_timeout=0").pooled

    def test_a_direct_url_that_is_a_pooler_is_refused(self) -> None:
        environ = {"DATABASE_URL": NEON, "BETTER_AUTH_SECRET": "x" * 32, "DATABASE_DIRECT_URL": NEON}
        with pytest.raises(SettingsError, match=r"^DATABASE_DIRECT_URL: .*pooler"):
            load_settings(environ)


class TestEncryption:
    @pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
    def test_every_mode_that_requires_tls_verifies_certificate_and_name(self, mode: str) -> None:
        target = read_database_url(f"postgres://u@h/d?sslmode={mode}")
        assert is_verified(target)
        assert isinstance(target.ssl, ssl.SSLContext)
        assert target.ssl.check_hostname

    @pytest.mark.parametrize(
        ("query", "expected"),
        [("sslmode=disable", False), ("sslmode=allow", "allow"), ("sslmode=prefer", "prefer"), ("ssl=false", False)],
    )
    def test_weaker_modes_mean_what_they_mean_to_libpq(self, query: str, expected: object) -> None:
        assert read_database_url(f"postgres://u@h/d?{query}").ssl == expected

    @pytest.mark.parametrize("query", ["ssl=true", "ssl=require", "sslnegotiation=direct", "channel_binding=require"])
    def test_other_ways_to_ask_for_tls_verify_too(self, query: str) -> None:
        assert is_verified(read_database_url(f"postgres://u@h/d?{query}"))

    def test_no_verify_encrypts_only(self) -> None:
        context = read_database_url("postgres://u@h/d?sslmode=no-verify").ssl
        assert isinstance(context, ssl.SSLContext)
        assert context.verify_mode is ssl.CERT_NONE


class TestSeveralHosts:
    @pytest.mark.parametrize(
        "url",
        [
            "postgres://u@H1:5432,h2:5433/d",
            "postgres://u@h1,h2:5433/d?target_session_attrs=read-write",
            "postgres://u@/d?host=h1,h2&port=5432,5433",
        ],
    )
    def test_each_has_its_port_and_the_one_that_takes_writes_is_wanted(self, url: str) -> None:
        target = read_database_url(url)
        assert [(host.host, host.port) for host in target.hosts] == [("h1", 5432), ("h2", 5433)]
        assert all(host.asyncpg_arguments()["target_session_attrs"] == "read-write" for host in target.hosts)
        assert target.redacted == "postgresql://u@h1:5432,h2:5433/d"

    def test_one_port_counts_for_all(self) -> None:
        assert {host.port for host in read_database_url("postgres://u@/d?host=h1,h2&port=7").hosts} == {7}

    def test_one_host_takes_whoever_answers_unless_the_url_asks_for_a_primary(self) -> None:
        assert "target_session_attrs" not in read_database_url("postgres://u@h/d").asyncpg_arguments()
        assert read_database_url("postgres://u@h/d?target_session_attrs=primary").must_take_writes


class TestRefusals:
    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("mysql://u:hunter2@h/d", "must begin with postgresql://"),
            ("hunter2", "must begin with postgresql://"),
            ("", "must begin with postgresql://"),
            ("postgres://u:hunter2@/d", "names no host"),
            ("postgres://u:hunter2@a,,b/d", "an empty name among its hosts"),
            ("postgres://u:hunter2@a,b,c/d?port=1,2", "names 3 hosts and 2 ports"),
            (
                "postgres://u:hunter2@a,b/d?target_session_attrs=standby",
                "target_session_attrs must be one of any",
            ),
            ("postgres://u:hunter2@h/d?options=-c%20search_path%3Dx", "'options' cannot be used"),
            ("postgres://u:hunter2@h/d?schema=x", "unknown 'schema'"),
            ("postgres://u:hunter2@h/d?b=1&a=2", "unknown 'a', 'b'"),
            ("postgres://u:hunter2@h/d?sslmode=hunter2", "sslmode must be one of disable, allow"),
            ("postgres://u:hunter2@h/d?ssl=maybe", "sslmode must be one of"),
            ("postgres://u:hunter2@h/d?channel_binding=x", "channel_binding must be one of"),
            ("postgres://u:hunter2@h/d?sslnegotiation=x", "sslnegotiation must be one of"),
            ("postgres://u:hunter2@h/d?sslmode=prefer&sslnegotiation=direct", "needs sslmode=require"),
            ("postgres://u:hunter2@h/d?sslmode=disable&sslrootcert=x", "needs sslmode=require"),
            ("postgres://u:hunter2@h/d?sslrootcert=/nowhere.pem", "sslrootcert cannot be read"),
            ("postgres://u:hunter2@/d?host=/run&sslmode=require", "TLS on a Unix socket"),
            ("postgres://u:hunter2@h/d?connect_timeout=x", "connect_timeout must be a whole number"),
            ("postgres://u:hunter2@h/d?sslmode", "has no value for 'sslmode'"),
            ("postgres://u:hunter2@h/d?sslmode=require&sslmode=disable", "repeats 'sslmode'"),
            ("postgres://u:hunter2@h:99999/d", "port must be a whole number"),
            ("postgres://u:hunter2@[h/d", "host cannot be read"),
            ("postgres://u:hunter2@h/d?hunter-2", "must be key=value"),
            ("postgres://u:hunter2/x@h/d", "a '/' or '\\?' in the password"),
            ("postgres://u:1?hunter2@h/d", "a '/' or '\\?' in the password"),
            ("postgres://u:1/hunter2@h/d", "a '/' or '\\?' in the password"),
            ("postgres://u:hunter2%00@h/d", "password contains a NUL"),
            ("postgres://u:hunter2%FF@h/d", "password is not UTF-8"),
            ("postgres://u:a@b?hunter2=x@h/d", "in the password must be written"),
        ],
    )
    def test_what_cannot_be_honoured_is_refused_without_the_password(self, url: str, says: str) -> None:
        with pytest.raises(BadDatabaseUrl, match=says) as refusal:
            read_database_url(url)
        assert "hunter2" not in str(refusal.value)

    @pytest.mark.parametrize("variable", ["DATABASE_URL", "NEON_DB_URL", "DATABASE_DIRECT_URL"])
    def test_the_refusal_names_the_variable(self, variable: str) -> None:
        environ = {"BETTER_AUTH_SECRET": "a-secret-that-is-long-enough-0123456789", variable: "mysql://u:hunter2@h/d"}
        with pytest.raises(SettingsError) as refusal:
            load_settings(environ)
        assert refusal.value.problems == [f"{variable}: must begin with postgresql:// or postgres://"]

    def test_the_password_is_neither_in_the_redacted_form_nor_in_the_representation(self) -> None:
        target = read_database_url(NEON)
        assert target.redacted == (
            "postgresql://neondb_owner:***@ep-cool-darkness-123456-pooler.us-east-2.aws.neon.tech:5432/neondb"
        )
        assert "npg_S3cr3t" not in repr(target)


class TestRealConnections:
    async def test_asyncpg_takes_the_arguments(self, postgres: ThrowawayPostgres) -> None:
        target = read_database_url(postgres.url)
        connection = await asyncpg.connect(**target.asyncpg_arguments({"statement_timeout": "1234ms"}))
        try:
            assert await connection.fetchval("show application_name") == "taskservice"
            assert await connection.fetchval("show statement_timeout") == "1234ms"
        finally:
            await connection.close()

    @pytest.mark.parametrize("pooler", ["true", "false"])
    async def test_sqlalchemy_takes_such_a_connection(self, postgres: ThrowawayPostgres, pooler: Pooler) -> None:
        target = read_database_url(postgres.url).with_pooler(pooler)
        engine = new_engine(partial(asyncpg.connect, **target.asyncpg_arguments()))
        async with engine.connect() as connection:
            assert (await connection.exec_driver_sql("select 1")).scalar() == 1
        await engine.dispose()

    @pytest.mark.parametrize("negotiation", ["postgres", "direct"])
    async def test_a_certificate_for_the_right_name_is_accepted(
        self, postgres: ThrowawayPostgres, tmp_path: Path, negotiation: str
    ) -> None:
        at_once = negotiation == "direct"
        async with tls_in_front_of(postgres.socket, tmp_path, names=["localhost"], at_once=at_once) as port:
            url = f"postgresql://taskservice@localhost:{port}/taskservice?sslmode=require"
            url += f"&sslnegotiation={negotiation}&sslrootcert={tmp_path / 'authority.pem'}"
            connection = await asyncpg.connect(**read_database_url(url).asyncpg_arguments())
            try:
                assert await connection.fetchval("select 1") == 1
            finally:
                await connection.close()

    async def test_a_certificate_of_an_unknown_authority_is_refused(
        self, postgres: ThrowawayPostgres, tmp_path: Path
    ) -> None:
        async with tls_in_front_of(postgres.socket, tmp_path, names=["localhost"]) as port:
            url = f"postgresql://taskservice@localhost:{port}/taskservice"
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncpg.connect(**read_database_url(f"{url}?sslmode=require").asyncpg_arguments())
            connection = await asyncpg.connect(**read_database_url(f"{url}?sslmode=no-verify").asyncpg_arguments())
            await connection.close()

    async def test_a_certificate_for_another_name_is_refused_unless_only_the_authority_counts(
        self, postgres: ThrowawayPostgres, tmp_path: Path
    ) -> None:
        async with tls_in_front_of(postgres.socket, tmp_path, names=["elsewhere.example"]) as port:
            url = f"postgresql://taskservice@localhost:{port}/taskservice?sslrootcert={tmp_path / 'authority.pem'}"
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncpg.connect(**read_database_url(f"{url}&sslmode=require").asyncpg_arguments())
            connection = await asyncpg.connect(**read_database_url(f"{url}&sslmode=verify-ca").asyncpg_arguments())
            await connection.close()
