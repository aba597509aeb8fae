"""A Redis that speaks TLS only, with a certificate of a CA that nothing trusts."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from select import select

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typing_extensions import override

from tests.support.servers.redis_server import RedisServer, redis_server
from tests.support.servers.tcp_proxy import TcpProxy, running

_CHUNK = 64 * 1024


class TlsRedis(TcpProxy):
    """Terminates TLS before a Redis: not every build of Redis speaks it."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        """Make certificates in `folder`."""
        super().__init__(server.port)
        self.server = server
        self.received = bytearray()
        """What clients have sent, decrypted."""
        self.ca, certificate, key = _make_certificates(folder)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)

    def url(self, options: str = "", login: str = "") -> str:
        """Return a URL; `options` is its query."""
        return f"rediss://{login}127.0.0.1:{self.port}/0{options}"

    @property
    def trusted(self) -> str:
        """The option that names the CA."""
        return f"?ssl_ca_certs={self.ca}"

    @override
    def _connect(self, client: socket.socket) -> None:
        target = ("127.0.0.1", self.server.port)
        with (
            client,
            suppress(OSError),
            self._context.wrap_socket(client, server_side=True) as tls,
            socket.create_connection(target) as plain,
        ):
            while self._forward(tls, plain):
                pass

    def _forward(self, tls: ssl.SSLSocket, plain: socket.socket) -> bool:
        """Forward what can be read; return False at the end of either side."""
        ready = [tls] if tls.pending() else select([tls, plain], [], [])[0]
        for source in ready:
            data = source.recv(_CHUNK)
            if source is tls:
                self.received += data
            (plain if source is tls else tls).sendall(data)
            if not data:
                return False
        return True


@contextmanager
def tls_redis(folder: Path) -> Iterator[TlsRedis]:
    """Run one."""
    with redis_server(folder) as server, running(TlsRedis(server, folder)) as one:
        yield one


def _make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Make a CA, and a certificate of it for 127.0.0.1; return their files."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA for tests")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        _builder(name, ca_name, key.public_key())
        .add_extension(addresses, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    files[0].write_bytes(ca.public_bytes(pem))
    files[1].write_bytes(certificate.public_bytes(pem))
    files[2].write_bytes(
        key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
