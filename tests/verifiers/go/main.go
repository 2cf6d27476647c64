// Verify checks what a hub shows of its log with golang.org/x/mod/sumdb/{note,tlog}: no line of the hub is in it.
//
//	verify FOLDER        accepts the folder (exit code 0) or says why not
//	verify FOLDER EVERY  also flips a bit in every EVERY-th byte of every file: each time it must be refused
//
// The folder holds an export (entries.jsonl, leaf-hashes, checkpoint, log.vkey), offline receipts (*.tlog-proof),
// consistency proofs (*.consistency: hashes, an empty line, the older checkpoint; they lead to `checkpoint`) and, if the
// log serves them, C2SP tiles (tile/...).
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type folder map[string][]byte

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("usage: verify FOLDER [EVERY]")
	}
	files, err := read(args[0])
	if err != nil {
		return err
	}
	said, err := files.verify()
	if err != nil {
		return err
	}
	fmt.Println("go x/mod accepts", said)
	if len(args) == 1 {
		return nil
	}
	every, err := strconv.Atoi(args[1])
	if err != nil || every < 1 {
		return errors.New("EVERY is a positive number")
	}
	flips, err := files.flipAll(every)
	if err != nil {
		return err
	}
	fmt.Println("go x/mod refuses each of", flips, "flips")
	return nil
}

func read(root string) (folder, error) {
	files := folder{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	return files, err
}

func (files folder) flipAll(every int) (int, error) {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	flips, at := 0, 0
	for _, name := range names {
		for ; at < len(files[name]); at += every {
			files[name][at] ^= 1 << (at % 8)
			if _, err := files.verify(); err == nil {
				return flips, fmt.Errorf("byte %d of %s may be flipped unnoticed", at, name)
			}
			files[name][at] ^= 1 << (at % 8)
			flips++
		}
		at -= len(files[name])
	}
	return flips, nil
}

// verify checks everything that is there against everything else.
func (files folder) verify() (string, error) {
	key, err := verifierKey(string(files["log.vkey"]))
	if err != nil {
		return "", err
	}
	tree, err := checkpoint(string(files["checkpoint"]), key)
	if err != nil {
		return "", err
	}
	leaves, err := leaves(files["entries.jsonl"])
	if err != nil {
		return "", err
	}
	if int64(len(leaves)) != tree.N {
		return "", fmt.Errorf("%d entries in a log of %d", len(leaves), tree.N)
	}
	hashes, err := storedHashes(leaves)
	if err != nil {
		return "", err
	}
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return "", err
	}
	if root != tree.Hash {
		return "", errors.New("the entries do not lead to the root")
	}
	if !bytes.Equal(files["leaf-hashes"], listing(leaves)) {
		return "", errors.New("the listed leaf hashes are not those of the entries")
	}
	receipts, consistencies, tiles := 0, 0, 0
	for name, content := range files {
		switch {
		case strings.HasSuffix(name, ".tlog-proof"):
			receipts++
			err = receipt(string(content), key, leaves)
		case strings.HasSuffix(name, ".consistency"):
			consistencies++
			err = consistency(string(content), key, tree)
		case strings.HasPrefix(name, "tile/"):
			tiles++
			err = tile(name, content, leaves, hashes)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	if tiles > 0 {
		if err := provedByTiles(files, tree, leaves); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d entries, %d receipts, %d consistency proofs, %d tiles", len(leaves), receipts, consistencies, tiles), nil
}

// verifierKey reads a key in its one spelling: Go's hexadecimal ignores case, its base64 spare bits and line ends.
func verifierKey(text string) (note.Verifier, error) {
	text, ended := cutSuffix(text, "\n")
	parts := strings.SplitN(text, "+", 3)
	if !ended || len(parts) != 3 || parts[1] != strings.ToLower(parts[1]) || !plain(parts[2]) {
		return nil, errors.New("the key is not in its one spelling")
	}
	return note.NewVerifier(text)
}

func checkpoint(text string, key note.Verifier) (tlog.Tree, error) {
	var tree tlog.Tree
	opened, err := note.Open([]byte(text), note.VerifierList(key))
	if err != nil {
		return tree, err
	}
	for _, signature := range opened.Sigs {
		if !plain(signature.Base64) {
			return tree, errors.New("a signature is not in its one spelling")
		}
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != key.Name() || lines[3] != "" {
		return tree, errors.New("the checkpoint is not the three lines of this log")
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, err
}

func leaves(jsonl []byte) ([][]byte, error) {
	body, ended := cutSuffix(string(jsonl), "\n")
	if !ended {
		return nil, errors.New("the last entry has no newline")
	}
	leaves := bytes.Split([]byte(body), []byte("\n"))
	for index, leaf := range leaves {
		var head struct{ I string }
		if err := json.Unmarshal(leaf, &head); err != nil || head.I != strconv.Itoa(index) {
			return nil, fmt.Errorf("line %d is not entry %d", index+1, index)
		}
	}
	return leaves, nil
}

func storedHashes(leaves [][]byte) (tlog.HashReader, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			if index >= int64(len(stored)) {
				return nil, errors.New("no such hash")
			}
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	for index, leaf := range leaves {
		more, err := tlog.StoredHashes(int64(index), leaf, reader)
		if err != nil {
			return nil, err
		}
		stored = append(stored, more...)
	}
	return reader, nil
}

func listing(leaves [][]byte) []byte {
	var list bytes.Buffer
	for _, leaf := range leaves {
		hash := tlog.RecordHash(leaf)
		fmt.Fprintln(&list, hex.EncodeToString(hash[:]))
	}
	return list.Bytes()
}

// receipt checks a C2SP tlog-proof, whose checkpoint may be newer than that of the export.
func receipt(text string, key note.Verifier, leaves [][]byte) error {
	head, signed, found := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a tlog-proof")
	}
	number, found := cutPrefix(lines[1], "index ")
	index, err := strconv.ParseInt(number, 10, 64)
	if !found || err != nil || index < 0 || index >= int64(len(leaves)) || number != strconv.FormatInt(index, 10) {
		return errors.New("no index of an entry")
	}
	proof, err := hashes(lines[2:])
	if err != nil {
		return err
	}
	tree, err := checkpoint(signed, key)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(leaves[index]))
}

func consistency(text string, key note.Verifier, tree tlog.Tree) error {
	head, signed, found := strings.Cut(text, "\n\n")
	if !found {
		return errors.New("no older checkpoint")
	}
	proof, err := hashes(strings.Split(head, "\n"))
	if err != nil {
		return err
	}
	older, err := checkpoint(signed, key)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, older.N, older.Hash)
}

func hashes(lines []string) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(lines))
	for i, line := range lines {
		hash, err := tlog.ParseHash(line)
		if err != nil || !plain(line) {
			return nil, errors.New("not a hash in its one spelling")
		}
		hashes[i] = hash
	}
	return hashes, nil
}

// plain says whether base64 text is what encoding its bytes gives: spare bits are zero.
func plain(text string) bool {
	data, err := base64.StdEncoding.DecodeString(text)
	return err == nil && base64.StdEncoding.EncodeToString(data) == text
}

// cutPrefix is that of package strings, which Debian's Go does not have yet.
func cutPrefix(text, prefix string) (string, bool) {
	return strings.TrimPrefix(text, prefix), strings.HasPrefix(text, prefix)
}

func cutSuffix(text, suffix string) (string, bool) {
	return strings.TrimSuffix(text, suffix), strings.HasSuffix(text, suffix)
}
