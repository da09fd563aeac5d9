"""A version becomes a folder with a signature that others' tools know: OpenSSF Model Signing, as the extra ``signing``.

The package is written to ``FOLDER/<number>``, and beside it ``<number>.sig``, a Sigstore bundle over the digests of all
its files, signed with an elliptic-curve key of the person's own. It stands beside mlnb's own seal (`mlnb.store.seal`),
which is inside the package and checked at every load; this one is for those who have no mlnb.

References
----------
OpenSSF Model Signing 1.0, https://github.com/ossf/model-signing-spec.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import cast

from mlnb.errors import PluginError, UntrustedError, UsageError
from mlnb.registry.registry import Registry
from mlnb.registry.version import Version
from mlnb.store.disk import make_folder, storing


def sign_version(version: Version, registry: Registry, folder: Path, private_key: Path) -> Path:
    """Write a version's package and its signature below `folder`; return the signature's path.

    Parameters
    ----------
    version : Version
        The version.
    registry : Registry
        Where its files are.
    folder : Path
        Made where it is missing.
    private_key : Path
        PEM of an elliptic-curve key (P-256, P-384, P-521), as ``openssl ecparam -genkey`` writes it.

    Raises
    ------
    UsageError
        If the key cannot be used.
    PluginError
        If the extra is not installed.
    CorruptError, UntrustedError
        If the package is not as it was registered and sealed.
    StorageError
        If the folder cannot be written, or holds other files.
    """
    signing = _model_signing()
    package = make_folder(folder.absolute()) / str(version.number)
    registry.unpack(version, package)
    signature = package.with_suffix(".sig")
    _check_key(private_key)
    signer = signing.signing.Config().use_elliptic_key_signer(private_key=private_key)
    with storing(signature):
        signer.sign(package, signature)
    return signature


def verify_folder(package: Path, signature: Path, public_key: Path) -> None:
    """Return if the signature is of that key and of exactly these files.

    Raises
    ------
    UntrustedError
        If it is not.
    PluginError
        If the extra is not installed.
    """
    signing = _model_signing()
    for path in (signature, public_key):
        with storing(path, "read"):
            path.read_bytes()
    try:
        signing.verifying.Config().use_elliptic_key_verifier(public_key=public_key).verify(package, signature)
    except (ValueError, TypeError) as error:
        raise UntrustedError(
            f"The signature {signature} does not hold for {package}: {' '.join(str(error).split())[:200]}.",
            "Do not use the package: it was changed, or another key has signed it.",
            path=str(package),
            digest="",
        ) from error


def _check_key(path: Path) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    with storing(path, "read"):
        content = path.read_bytes()
    try:
        key, reason = load_pem_private_key(content, password=None), "it is of another kind"
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        key, reason = None, str(error)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise UsageError(
            f"{path} is no elliptic-curve private key: {reason}.",
            "Make one: openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem.",
        )


def _model_signing() -> ModuleType:
    try:
        import model_signing.signing
        import model_signing.verifying
    except ImportError as error:
        raise PluginError(
            "Signing for others' tools needs model-signing, which is not installed.",
            "Install the extra: pip install 'mlnb[signing]'.",
            group="extras",
            plugin="signing",
        ) from error
    return cast(ModuleType, model_signing)
