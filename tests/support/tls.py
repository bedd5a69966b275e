"""Certificates, and TLS in front of a PostgreSQL that has none: the embedded one is built without."""

import asyncio
import contextlib
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@contextlib.asynccontextmanager
async def tls_in_front_of(
    upstream: Path, directory: Path, names: list[str], *, at_once: bool = False
) -> AsyncIterator[int]:
    """A port of 127.0.0.1 that leads to the socket `upstream`; TLS begins when the client asks, or `at_once`.

    The certificate is for `names`, its authority is in `directory`/authority.pem.
    """
    context = _server_context(directory, names)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beginning = await reader.readexactly(8)
        assert beginning == b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # SSLRequest
        writer.write(b"S")
        await writer.drain()
        with contextlib.suppress(ssl.SSLError, OSError):
            await writer.start_tls(context)
            await pipe(reader, writer)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(upstream)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))

    if at_once:
        server = await asyncio.start_server(pipe, "127.0.0.1", 0, ssl=context)
    else:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def make_certificate(directory: Path, names: list[str]) -> tuple[Path, Path]:
    """A certificate for `names` that is its own authority, and its key."""
    now = dt.datetime.now(dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority = directory / "authority.pem"
    authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = directory / "key.pem"
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return authority, secret


def _server_context(directory: Path, names: list[str]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*make_certificate(directory, names))
    context.set_alpn_protocols(["postgresql"])
    return context
