# SPDX-License-Identifier: Apache-2.0
"""The formats of crypto-sodium once more, from their specifications, over Python's `cryptography`, `argon2` and hashlib,
none of which has libsodium in it."""
import base64
import hashlib
import struct

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305


def hchacha20(key, nonce):
    """draft-irtf-cfrg-xchacha, 2.2: a ChaCha20 block without the last addition, which is undone here."""
    block = Cipher(algorithms.ChaCha20(key, nonce), mode=None).encryptor().update(bytes(64))
    start = struct.unpack("<16I", b"expand 32-byte k" + key + nonce)
    words = [(after - before) % (1 << 32) for after, before in zip(struct.unpack("<16I", block), start)]
    return struct.pack("<8I", *words[:4], *words[12:])


class XChaCha:
    def __init__(self, key):
        self.key = key[:32]

    def _inner(self, nonce):
        return ChaCha20Poly1305(hchacha20(self.key, nonce[:16])), bytes(4) + nonce[16:]

    def encode(self, nonce, text, associated):
        cipher, inner = self._inner(nonce)
        return nonce + cipher.encrypt(inner, text, associated)

    def decode(self, body, associated):
        cipher, inner = self._inner(body[:24])
        return cipher.decrypt(inner, body[24:], associated)


class Argon2id:
    """Wrapped keys, as bucketdisk-crypto-sodium(7) describes them."""

    @staticmethod
    def _cipher(passphrase, salt, memory_kib, passes):
        return XChaCha(hash_secret_raw(passphrase, salt, passes, memory_kib, 1, 32, Type.ID))

    @classmethod
    def wrap(cls, passphrase, key, memory_kib, passes, salt, nonce):
        text = [base64.b64encode(value).decode() for value in (salt, nonce)]
        head = f"argon2id v=1 m={memory_kib} t={passes} p=1 salt={text[0]} nonce={text[1]}"
        sealed = cls._cipher(passphrase, salt, memory_kib, passes).encode(nonce, key, head.encode())[24:]
        return f"{head} key={base64.b64encode(sealed).decode()}"

    @classmethod
    def unwrap(cls, passphrase, blob):
        head, _, key = blob.partition(" key=")
        name, *words = head.split(" ")
        fields = dict(word.split("=", 1) for word in words)
        assert (name, fields["v"], fields["p"], list(fields)) == ("argon2id", "1", "1", ["v", "m", "t", "p", "salt", "nonce"])
        salt, nonce, sealed = (base64.b64decode(value, validate=True) for value in (fields["salt"], fields["nonce"], key))
        cipher = cls._cipher(passphrase, salt, int(fields["m"]), int(fields["t"]))
        return cipher.decode(nonce + sealed, head.encode())


def subkey(key, purpose, length):
    message = b"bucketdisk subkey 1\0" + struct.pack("<Q", len(purpose)) + purpose
    return hashlib.blake2b(message, key=key, digest_size=length).digest()
