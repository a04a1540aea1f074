"""Detached ed25519 signatures of cards: `card.json.sig` beside `card.json`, 64 bytes in base64.

A card contains the SHA-256 of every graph, so its signature covers all that is loaded. Needs the extra `hub`.
"""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

from service.card import CARD_FILE
from service.errors import ModelRejected

SIGNATURE_FILE = f"{CARD_FILE}.sig"
MAX_SIGNATURE_BYTES = 1024
KEY_BYTES = 32


def parse_key(text: str) -> bytes:
    """Return the 32 bytes of a public key in base64. Raises ValueError."""
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{text[:20]} is not base64") from error
    if len(key) != KEY_BYTES:
        raise ValueError(f"{text[:20]} has {len(key)} bytes, and an ed25519 public key has {KEY_BYTES}")
    return key


def check_signature(card: bytes, signature: bytes, keys: Sequence[bytes]) -> None:
    """Raise ModelRejected unless one of the public keys has signed the card. `signature` is in base64."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        raw = base64.b64decode(signature.strip(), validate=True)
    except binascii.Error as error:
        raise ModelRejected(f"{SIGNATURE_FILE} is not base64") from error
    for key in keys:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(raw, card)
        except InvalidSignature:
            continue
        return
    raise ModelRejected(f"{SIGNATURE_FILE} was not made for this {CARD_FILE} by a key of HOURGLASS_TRUSTED_KEYS")


def sign_card(folder: Path, key_file: Path) -> str:
    """Write the signature of the card of a version. Return the public key in base64.

    `key_file` is a private ed25519 key in PEM, as `openssl genpkey -algorithm ed25519` writes it. Raises ValueError if
    it is not one, and OSError.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key_file} is not a private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{key_file} is not an ed25519 key: make one by openssl genpkey -algorithm ed25519")
    signature = base64.b64encode(key.sign((folder / CARD_FILE).read_bytes()))
    (folder / SIGNATURE_FILE).write_bytes(signature + b"\n")
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()
