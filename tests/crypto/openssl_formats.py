# SPDX-License-Identifier: Apache-2.0
"""The formats of crypto-openssl once more, from their specifications, over Python's `cryptography` and hashlib."""
import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

try:
    from cryptography.hazmat.decrepit.ciphers import algorithms as old
except ImportError:
    old = algorithms

# name -> algorithm, bytes of key, bytes of block
CBC = {
    "AES-128-CBC": (algorithms.AES, 16, 16),
    "AES-192-CBC": (algorithms.AES, 24, 16),
    "AES-256-CBC": (algorithms.AES, 32, 16),
    "CAMELLIA-128-CBC": (getattr(old, "Camellia", None) or algorithms.Camellia, 16, 16),
    "DES-EDE3-CBC": (getattr(old, "TripleDES", None) or algorithms.TripleDES, 24, 8),
    "BF-CBC": (old.Blowfish, 16, 8),
    "CAST5-CBC": (old.CAST5, 16, 8),
    "SEED-CBC": (old.SEED, 16, 16),
}


def _encrypt(algorithm, key, mode, data):
    encryptor = Cipher(algorithm(key), mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


class S3backer:
    """legacy-format, section 6."""

    def __init__(self, cipher, password, salt, key_length=0):
        self.cipher = cipher
        self.algorithm, natural, self.block_bytes = CBC[cipher]
        length = key_length or natural
        self.key = hashlib.pbkdf2_hmac("sha1", password, salt, 5000, length)
        ivkey = hashlib.pbkdf2_hmac("sha1", self.key, self.key, 5000, length)
        self.data_key, self.iv_key = self.key[:natural], ivkey[:natural]

    def iv(self, number):
        first = self.iv_key[:self.block_bytes]
        return _encrypt(self.algorithm, self.iv_key, modes.CBC(first), (b"%08x" % number).ljust(self.block_bytes, b"\0"))

    def tag(self, number, body):
        digest = hmac.new(self.key, b"%08x" % number + self.cipher.encode() + body, hashlib.sha1)
        return b'"%s"' % digest.hexdigest().encode()

    def encode(self, number, text):
        padder = PKCS7(8 * self.block_bytes).padder()
        padded = padder.update(text) + padder.finalize()
        body = _encrypt(self.algorithm, self.data_key, modes.CBC(self.iv(number)), padded)
        return body, {"s3backer-hmac": self.tag(number, body)}

    def decode(self, number, body, attributes):
        if not hmac.compare_digest(self.tag(number, body), attributes["s3backer-hmac"]):
            raise ValueError("not authentic")
        decryptor = Cipher(self.algorithm(self.data_key), modes.CBC(self.iv(number))).decryptor()
        unpadder = PKCS7(8 * self.block_bytes).unpadder()
        return unpadder.update(decryptor.update(body) + decryptor.finalize()) + unpadder.finalize()


class Xaes:
    """https://c2sp.org/XAES-256-GCM; numbers instead of bytes, so that nothing is done the way of the C."""

    def __init__(self, key):
        self.key = key[:32]
        doubled = int.from_bytes(_encrypt(algorithms.AES, self.key, modes.ECB(), bytes(16)), "big") << 1
        self.k1 = doubled ^ (1 << 128 | 0x87) if doubled >> 128 else doubled

    def _gcm(self, nonce):
        halves = [b"\0%cX\0" % number + nonce[:12] for number in (1, 2)]
        halves = [(int.from_bytes(half, "big") ^ self.k1).to_bytes(16, "big") for half in halves]
        return AESGCM(_encrypt(algorithms.AES, self.key, modes.ECB(), b"".join(halves)))

    def encode(self, nonce, text, associated):
        return nonce + self._gcm(nonce).encrypt(nonce[12:], text, associated)

    def decode(self, body, associated):
        nonce = body[:24]
        return self._gcm(nonce).decrypt(nonce[12:], body[24:], associated)
