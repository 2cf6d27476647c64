"""Checks what a hub shows of its log with `tlog-scales`: no line of the hub is in it.

    verify.py FOLDER        accepts the folder (exit code 0) or says why not
    verify.py FOLDER EVERY  also flips a bit in every EVERY-th byte of every file: each time it must be refused

The folder is that of ../go/main.go.
"""

import hashlib
import json
import logging
import sys
from pathlib import Path

from tlog_scales.backend import LocalBackend
from tlog_scales.reader import Tile, TilesReader
from tlog_scales.signing import Vkey, VkeySet
from tlog_scales.tiles import leaf_hash, level_entries, tile_path
from tlog_scales.tlog import Checkpoint, ConsistencyProof, InclusionProof
from tlog_scales.utils import b64dec, b64enc

Files = dict[str, bytes]


class Refused(Exception):
    """The folder is not genuine."""


class Memory:
    """A backend of tlog-scales over files in memory."""

    def __init__(self, files: Files):
        self.files = files

    def get(self, *path: str) -> bytes | None:
        return self.files.get("/".join(path))


def read(root: Path) -> Files:
    backend = LocalBackend(root)
    names = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file()]
    return {name.as_posix(): backend.get(*name.parts) for name in names}


def require(condition: bool, what: str) -> None:
    if not condition:
        raise Refused(what)


def verify(files: Files) -> str:
    key = verifier_key(files["log.vkey"].decode())
    tree = checkpoint(files["checkpoint"].decode(), key)
    lines = files["entries.jsonl"].split(b"\n")
    require(lines.pop() == b"", "the last entry has no newline")
    leaves = lines
    require(len(leaves) == tree.size, f"{len(leaves)} entries in a log of {tree.size}")
    for index, leaf in enumerate(leaves):
        require(json.loads(leaf)["i"] == str(index), f"line {index + 1} is not entry {index}")
    hashes = [leaf_hash(leaf) for leaf in leaves]
    listing = "".join(f"{one.hex()}\n" for one in hashes)
    require(files["leaf-hashes"] == listing.encode(), "the listed leaf hashes are not those of the entries")

    require(root_of(hashes) == tree.root_hash, "the entries do not lead to the root")
    receipts = consistencies = tiles = 0
    for name, content in files.items():
        if name.endswith(".tlog-proof"):
            receipts += 1
            receipt(content.decode(), key, hashes)
        elif name.endswith(".consistency"):
            consistencies += 1
            consistency(content.decode(), key, tree)
        elif name.startswith("tile/"):
            tiles += 1
    if tiles:
        served(files, tree, leaves, hashes)
    return f"{len(leaves)} entries, {receipts} receipts, {consistencies} consistency proofs, {tiles} tiles"


def verifier_key(text: str) -> Vkey:
    require(text.endswith("\n"), "the key has no newline")
    key = Vkey.from_string(text[:-1])
    require(key.serialize() == text[:-1], "the key is not in its one spelling")
    computed = Vkey(key.name, None, key.sig_type, key.pubkey)
    require(computed.key_id == key.key_id, "the id is not that of the key")
    return key


def checkpoint(text: str, key: Vkey) -> Checkpoint:
    parsed = Checkpoint.from_text(text)
    require(parsed.serialize() == text, "the checkpoint is not in its one spelling")
    require(parsed.origin == key.name, "the checkpoint is of another log")
    require(len(VkeySet(key).verify(parsed.signatures, parsed)) == 1, "the checkpoint is not signed by the log")
    return parsed


def level_zero(hashes: list[bytes]) -> Files:
    """The tiles of level 0, by their paths: what the reader of tlog-scales needs to compute the rest."""
    return {
        "/".join(tile_path(0, first // 256, len(part) % 256)): b"".join(part)
        for first in range(0, len(hashes), 256)
        for part in [hashes[first : first + 256]]
    }


def root_of(hashes: list[bytes]) -> bytes:
    """The root, by the proof code of tlog-scales: each subtree of 256 by itself, since level 1 is not given."""
    if len(hashes) <= 256:
        reader = TilesReader(Memory(level_zero(hashes)))
        reader.set_size(len(hashes))
        if len(hashes) < 256:
            return reader.calculate_root_hash()
        left, right = root_of(hashes[:128]), root_of(hashes[128:])
    else:
        split = 1 << ((len(hashes) - 1).bit_length() - 1)
        left, right = root_of(hashes[:split]), root_of(hashes[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def receipt(text: str, key: Vkey, hashes: list[bytes]) -> None:
    head, signed = text.split("\n\n", 1)
    header, number, *path = head.split("\n")
    require(header == "c2sp.org/tlog-proof@v1", "not a tlog-proof")
    index = int(number.removeprefix("index "))
    require(number == f"index {index}" and 0 <= index < len(hashes), "no index of an entry")
    tree = checkpoint(signed, key)
    InclusionProof(index, tree.size, nodes(path)).check(hashes[index], tree.root_hash)


def consistency(text: str, key: Vkey, tree: Checkpoint) -> None:
    head, signed = text.split("\n\n", 1)
    older = checkpoint(signed, key)
    ConsistencyProof(older.size, tree.size, nodes(head.split("\n"))).check(older.root_hash, tree.root_hash)


def nodes(lines: list[str]) -> list[bytes]:
    hashes = [b64dec(line) for line in lines]
    for line, node in zip(lines, hashes, strict=True):
        require(len(node) == 32 and b64enc(node) == line, "not a hash in its one spelling")
    return hashes


def served(files: Files, tree: Checkpoint, leaves: list[bytes], hashes: list[bytes]) -> None:
    """The tiles that the log serves: each is that of these entries, and with the checkpoint they prove each entry."""
    for name, content in files.items():
        if name.startswith("tile/entries/"):
            first = 256 * number_of(name.split("/")[2:])
            entries = Tile.from_entries_bytes(content).entries
            require(entries == leaves[first : first + width(name)], f"{name} is not of these entries")
        elif name.startswith("tile/"):
            level = int(name.split("/")[1])
            first = 256 * number_of(name.split("/")[2:])
            expected = [
                root_of(hashes[at << 8 * level : (at + 1) << 8 * level]) if level else hashes[at]
                for at in range(first, first + width(name))
            ]
            require(Tile.from_hash_bytes(content).entries == expected, f"{name} is not of these entries")
            require(first + width(name) <= level_entries(tree.size, level), f"{name} goes beyond the checkpoint")
    reader = TilesReader(Memory(files))
    reader.get_checkpoint()
    require(reader.calculate_root_hash() == tree.root_hash, "the tiles do not lead to the root")
    for index in range(0, len(leaves), len(leaves) // 64 + 1):
        reader.get_inclusion_proof(index, tree.size).check(leaf_hash(leaves[index]), tree.root_hash)
        require(reader.get_entry(index) == leaves[index], f"entry {index} is not in its bundle")


def number_of(parts: list[str]) -> int:
    number = 0
    for part in parts:
        number = 1000 * number + int(part.removeprefix("x").removesuffix(".p"))
        if part.endswith(".p"):
            break
    return number


def width(name: str) -> int:
    return int(name.rsplit("/", 1)[1]) if ".p/" in name else 256


def flip_all(files: Files, every: int) -> int:
    flips = at = 0
    for name, genuine in files.items():
        while at < len(genuine):
            changed = bytearray(genuine)
            changed[at] ^= 1 << at % 8
            try:
                verify(files | {name: bytes(changed)})
            except Exception:
                flips += 1
            else:
                raise Refused(f"byte {at} of {name} may be flipped unnoticed")
            at += every
        at -= len(genuine)
    return flips


def main(root: str, every: str | None = None) -> None:
    logging.getLogger("tlog_scales").setLevel(logging.CRITICAL)  # a signature that fails is told by `Refused`
    files = read(Path(root))
    print("tlog-scales accepts", verify(files))
    if every:
        print("tlog-scales refuses each of", flip_all(files, int(every)), "flips")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(f"refused: {type(error).__name__}: {error}")
