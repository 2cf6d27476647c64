package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Levels of tiles are eight levels of the tree high.
const height = 8

// tile checks one file below tile/: a tile of hashes, or a bundle of entries.
func tile(name string, content []byte, leaves [][]byte, hashes tlog.HashReader) error {
	if rest, isBundle := cutPrefix(name, "tile/entries/"); isBundle {
		parsed, err := tlog.ParseTilePath("tile/8/0/" + rest)
		if err != nil {
			return err
		}
		return bundle(content, leaves, int(parsed.N)<<height, parsed.W)
	}
	parsed, err := tlog.ParseTilePath("tile/8/" + strings.TrimPrefix(name, "tile/"))
	if err != nil {
		return err
	}
	expected, err := tlog.ReadTileData(parsed, hashes)
	if err != nil {
		return err
	}
	if !bytes.Equal(content, expected) {
		return errors.New("it is not the tile of these entries")
	}
	return nil
}

func bundle(content []byte, leaves [][]byte, first, count int) error {
	for index := first; index < first+count; index++ {
		if index >= len(leaves) || len(content) < 2 {
			return errors.New("it has more entries than the log, or is cut")
		}
		length := int(binary.BigEndian.Uint16(content))
		content = content[2:]
		if len(content) < length || !bytes.Equal(content[:length], leaves[index]) {
			return fmt.Errorf("it does not have entry %d", index)
		}
		content = content[length:]
	}
	if len(content) > 0 {
		return errors.New("something follows its last entry")
	}
	return nil
}

// files as a tlog.TileReader: Go's paths name the height, those of C2SP do not.
type tileReader struct{ files folder }

func (tileReader) Height() int { return height }

func (tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

func (reader tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(tiles))
	for i, tile := range tiles {
		name := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		content, found := reader.files[name]
		if !found {
			return nil, fmt.Errorf("%s is missing", name)
		}
		all[i] = content
	}
	return all, nil
}

// provedByTiles makes and checks inclusion proofs from nothing but the served tiles and the checkpoint.
func provedByTiles(files folder, tree tlog.Tree, leaves [][]byte) error {
	reader := tlog.TileHashReader(tree, tileReader{files})
	step := len(leaves)/64 + 1
	for index := 0; index < len(leaves); index += step {
		proof, err := tlog.ProveRecord(tree.N, int64(index), reader)
		if err != nil {
			return err
		}
		leaf := tlog.RecordHash(leaves[index])
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), leaf); err != nil {
			return err
		}
	}
	return nil
}
