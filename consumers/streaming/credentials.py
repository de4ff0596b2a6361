"""Who we are to the brokers, in Faust's words: it does not read librdkafka's properties."""

import ssl
from collections.abc import Mapping

import faust
from faust.types.auth import CredentialsT

from pipeline.kafka.errors import Fatal

_SECURING = ("security.", "sasl.", "ssl.", "enable.ssl", "enable.sasl")
_KNOWN = {
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
}
_MECHANISMS = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}


def credentials(options: Mapping[str, str]) -> CredentialsT | None:
    """Returns the credentials in `kafka.client_options`; properties that are not about security do not matter here.

    Raises:
        Fatal: a property about security cannot be honoured.
    """
    if unknown := sorted(name for name in options if name.startswith(_SECURING) and name not in _KNOWN):
        raise Fatal(
            f"The statistics program cannot honour {', '.join(unknown)} of kafka.client_options: it runs on Faust, "
            f"which knows {', '.join(sorted(_KNOWN))}."
        )
    protocol = options.get("security.protocol", "plaintext").upper()
    context = _context(options) if protocol in {"SSL", "SASL_SSL"} else None
    if not protocol.startswith("SASL"):
        return None if context is None else faust.SSLCredentials(context)
    mechanism = options.get("sasl.mechanism", options.get("sasl.mechanisms", "GSSAPI"))
    if mechanism not in _MECHANISMS:
        raise Fatal(
            f"The statistics program cannot honour sasl.mechanism={mechanism} of kafka.client_options: it can do "
            f"{', '.join(sorted(_MECHANISMS))}."
        )
    return faust.SASLCredentials(
        username=options.get("sasl.username"),
        password=options.get("sasl.password"),
        ssl_context=context,
        mechanism=mechanism,
    )


def _context(options: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("ssl.ca.location"))
        if certificate := options.get("ssl.certificate.location"):
            context.load_cert_chain(certificate, options.get("ssl.key.location"), options.get("ssl.key.password"))
    except OSError as error:  # a missing file, or one without a certificate
        raise Fatal(f"The certificates cannot be read ({error}): check ssl.* in kafka.client_options.") from error
    if options.get("ssl.endpoint.identification.algorithm") == "none":
        context.check_hostname = False
    if options.get("enable.ssl.certificate.verification") == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
