// Package blob keeps segments at rest: named objects that are written once,
// from the front, and never change afterwards. [Disk] keeps them as files below
// one directory; whatever else implements [Store] passes the suite in
// blob/blobtest.
//
// Names are ours, never a client's text: words of a-z, A-Z, 0-9, '-', '_' and
// '.', joined by '/', none of which begins with a dot.
//
// # What survives
//
// What Append took is there after a kill of the process, without Close. After a
// loss of power, or of the machine, it is there as far as the operating system
// had written it back (Linux: 30 s by default): nothing is fsynced, because a
// broadcast must not wait for a disk, and a database on that disk must not wait
// for a broadcast. Who needs to know what an object holds checks its size.
package blob

import (
	"errors"
	"io"
	"strings"
)

// What a [Store] refuses; everything else is wrapped around its cause.
var (
	ErrNotFound = errors.New("no such object")
	ErrExists   = errors.New("the object exists: it is written once")
	ErrName     = errors.New("not a name for an object")
	// ErrFull: the store takes no more bytes for now. What is there can be read
	// and deleted.
	ErrFull = errors.New("the store is full")
)

// A Store keeps objects. All methods may be called concurrently.
type Store interface {
	// Create begins an object of that name, which is there, and empty, from then
	// on. Errors: ErrName, ErrExists, ErrFull.
	Create(name string) (Writer, error)
	// Open opens an object for reading, also one that is being written: Size is
	// what it held at that moment. Errors: ErrName, ErrNotFound.
	Open(name string) (Object, error)
	// List returns the objects whose names begin with dir and a slash, in the order
	// of their names; every object for "". A directory without objects is empty.
	List(dir string) ([]Info, error)
	// Dirs returns the words that come next in the names of objects below dir, and
	// have others below them, in order; of all objects for "".
	Dirs(dir string) ([]string, error)
	// Delete removes one object, DeleteAll all that List names. What is open can
	// be read to its end. Nothing there is no error.
	Delete(name string) error
	DeleteAll(dir string) error
}

// A Writer adds to one object. It is used by one goroutine.
type Writer interface {
	// Append adds the pieces, one after the other. When it returns nil they are
	// in the object; after an error an unknown part of them is, and the object
	// takes no more. Error: ErrFull, or its cause.
	Append(pieces ...[]byte) error
	// Close ends the object. It need not be called after an error of Append, but
	// may. An object that was never closed, because the process was killed, can
	// be read like another.
	Close() error
}

// An Object is open for reading. It is used by one goroutine. An Object of [Disk]
// is a file, which [io.Copy] hands to a TCP connection without copying.
type Object interface {
	io.ReadSeekCloser
	Size() int64
}

// Info describes an object.
type Info struct {
	Name string
	Size int64 // bytes
}

// maxName bounds a name, in bytes.
const maxName = 200

// ValidName reports whether name may name an object.
func ValidName(name string) bool {
	if len(name) > maxName {
		return false
	}
	for word := range strings.SplitSeq(name, "/") {
		if word == "" || word[0] == '.' {
			return false
		}
		for i := range len(word) {
			c := word[i]
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
				return false
			}
		}
	}
	return true
}
