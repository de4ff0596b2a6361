"""librdkafka's properties as Faust's credentials."""

import ssl

import faust
import pytest

from consumers.streaming.credentials import credentials
from pipeline.kafka.errors import Fatal


def test_nothing_and_tuning_are_no_credentials() -> None:
    assert credentials({}) is None
    assert credentials({"socket.keepalive.enable": "true", "security.protocol": "plaintext"}) is None


def test_a_user_and_password_over_tls() -> None:
    said = credentials(
        {
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "me",
            "sasl.password": "secret",
            "enable.ssl.certificate.verification": "false",
        }
    )
    assert isinstance(said, faust.SASLCredentials)
    assert (said.protocol.value, said.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (said.username, said.password) == ("me", "secret")
    assert said.ssl_context is not None
    assert said.ssl_context.verify_mode is ssl.CERT_NONE


def test_tls_alone() -> None:
    said = credentials({"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": "none"})
    assert isinstance(said, faust.SSLCredentials)
    assert (said.context.check_hostname, said.context.verify_mode) == (False, ssl.CERT_REQUIRED)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sasl.kerberos.keytab": "k"}, r"cannot honour sasl\.kerberos\.keytab"),
        ({"security.protocol": "sasl_plaintext"}, r"cannot honour sasl\.mechanism=GSSAPI"),
        ({"security.protocol": "ssl", "ssl.ca.location": "/nowhere"}, r"check ssl\.\* in kafka\.client_options"),
    ],
)
def test_what_cannot_be_honoured_is_named(options: dict[str, str], said: str) -> None:
    with pytest.raises(Fatal, match=said):
        credentials(options)
