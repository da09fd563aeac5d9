"""A handed-over value becomes a line in a manifest: which bytes, in which codec, produced by what, signed by whom."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mlnb.store.manifest import Fields


@dataclass(frozen=True, slots=True)
class Artifact:
    """One stored value.

    Attributes
    ----------
    name : str
        The variable's name.
    codec : str
        Entry point of ``mlnb.codecs`` that wrote and can read it.
    digest : str
        ``sha256:<hex>`` of the bytes.
    size_bytes : int
        Their number.
    identity : str
        What stands for the value in cache keys: the digest where the codec is canonical, else the key and name
        that produced it, because pickle gives other bytes for equal objects.
    type_name : str
        ``module.Class`` of the value.
    signature, key : str
        Ed25519 signature of the digest and the id of its key; empty for codecs that cannot execute code.
    """

    name: str
    codec: str
    digest: str
    size_bytes: int
    identity: str
    type_name: str
    signature: str = ""
    key: str = ""

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Fields) -> Artifact:
        """Read it from a JSON object.

        Raises
        ------
        CorruptError
            If a field is missing or of another type.
        """
        return cls(
            name=fields.text("name"),
            codec=fields.text("codec"),
            digest=fields.text("digest"),
            size_bytes=fields.integer("size_bytes"),
            identity=fields.text("identity"),
            type_name=fields.text("type_name"),
            signature=fields.text("signature"),
            key=fields.text("key"),
        )
