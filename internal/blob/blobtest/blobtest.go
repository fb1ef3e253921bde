// Package blobtest is the suite that each blob.Store must pass.
package blobtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"tally/internal/blob"
)

// Run tests a store. open returns one over what it returned before within the
// same test, as a process that was started anew would: nothing that the last one
// opened was closed. The first of a test is empty.
func Run(t *testing.T, open func(t *testing.T) func() blob.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, again func() blob.Store)
	}{
		{"what is written is read", testRoundTrip},
		{"an object is written once", testOnce},
		{"an object that is being written", testReadWhileWritten},
		{"killed without closing", testKilled},
		{"what does not exist", testAbsent},
		{"names", testNames},
		{"lists", testList},
		{"deleting", testDelete},
		{"deleted while it is read", testDeletedWhileRead},
		{"many at once", testMany},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func put(t *testing.T, s blob.Store, name string, pieces ...string) {
	t.Helper()
	w, err := s.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pieces {
		if err := w.Append([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s blob.Store, name string) string {
	t.Helper()
	o, err := s.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	data, err := io.ReadAll(o)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) < o.Size() {
		t.Errorf("%s: read %d bytes, Size says %d", name, len(data), o.Size())
	}
	return string(data)
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func testRoundTrip(t *testing.T, again func() blob.Store) {
	s := again()
	put(t, s, "s/v0/seg-1-7.m4s", "part one, ", "", "part two")
	put(t, s, "s/v0/empty")
	want(t, "the object", get(t, s, "s/v0/seg-1-7.m4s"), "part one, part two")
	want(t, "an empty object", get(t, s, "s/v0/empty"), "")

	o, err := s.Open("s/v0/seg-1-7.m4s")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if o.Size() != 18 {
		t.Errorf("Size: got %d, want 18", o.Size())
	}
	if _, err := o.Seek(10, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(o)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "behind a seek", string(rest), "part two")

	w, err := s.Create("s/pieces")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append([]byte("a"), nil, []byte("bc")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Append([]byte("d")) == nil {
		t.Error("a closed object took more")
	}
	want(t, "pieces", get(t, s, "s/pieces"), "abc")
}

func testOnce(t *testing.T, again func() blob.Store) {
	s := again()
	put(t, s, "a/b", "first")
	_, err := s.Create("a/b")
	wantErr(t, "the same name again", err, blob.ErrExists)
	_, err = again().Create("a/b")
	wantErr(t, "the same name after a restart", err, blob.ErrExists)
	want(t, "the object", get(t, s, "a/b"), "first")
}

func testReadWhileWritten(t *testing.T, again func() blob.Store) {
	s := again()
	w, err := s.Create("a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	want(t, "begun", get(t, s, "a/b"), "")
	if err := w.Append([]byte("one")); err != nil {
		t.Fatal(err)
	}
	want(t, "with one piece", get(t, s, "a/b"), "one")
}

func testKilled(t *testing.T, again func() blob.Store) {
	w, err := again().Create("a/b")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := w.Append(fmt.Appendf(nil, "part %d;", i)); err != nil {
			t.Fatal(err)
		}
	}
	s := again()
	want(t, "what was appended", get(t, s, "a/b"), "part 0;part 1;part 2;")
	if all, err := s.List("a"); err != nil || len(all) != 1 || all[0].Size != 21 {
		t.Errorf("list: got %v, %v", all, err)
	}
}

func testAbsent(t *testing.T, again func() blob.Store) {
	s := again()
	put(t, s, "a/b", "x")
	for _, name := range []string{"c", "a", "a/b/c", "a/c"} {
		_, err := s.Open(name)
		wantErr(t, "open "+name, err, blob.ErrNotFound)
	}
	if all, err := s.List("nothing"); err != nil || len(all) != 0 {
		t.Errorf("list of nothing: got %v, %v", all, err)
	}
	if err := s.Delete("a/c"); err != nil {
		t.Errorf("delete what is not there: %v", err)
	}
	if err := s.DeleteAll("nothing/here"); err != nil {
		t.Errorf("delete all of what is not there: %v", err)
	}
}

func testNames(t *testing.T, again func() blob.Store) {
	s := again()
	for _, name := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.hidden", "a b", "a\\b", "ä", "a\x00b", "a\n", strings.Repeat("a", 201)} {
		_, err := s.Create(name)
		wantErr(t, fmt.Sprintf("create %q", name), err, blob.ErrName)
		_, err = s.Open(name)
		wantErr(t, fmt.Sprintf("open %q", name), err, blob.ErrName)
		wantErr(t, fmt.Sprintf("delete %q", name), s.Delete(name), blob.ErrName)
		wantErr(t, fmt.Sprintf("delete all %q", name), s.DeleteAll(name), blob.ErrName)
		if name != "" {
			_, err = s.List(name)
			wantErr(t, fmt.Sprintf("list %q", name), err, blob.ErrName)
			_, err = s.Dirs(name)
			wantErr(t, fmt.Sprintf("directories of %q", name), err, blob.ErrName)
		}
	}
	put(t, s, "A-z_0.9/B", "x")
	want(t, "an unusual name", get(t, s, "A-z_0.9/B"), "x")
}

func names(t *testing.T, s blob.Store, dir string) string {
	t.Helper()
	all, err := s.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range all {
		out = append(out, fmt.Sprintf("%s=%d", i.Name, i.Size))
	}
	return strings.Join(out, " ")
}

func testList(t *testing.T, again func() blob.Store) {
	s := again()
	put(t, s, "a/v0/seg-2", "two")
	put(t, s, "a/v0/seg-10", "ten")
	put(t, s, "a/journal", "x")
	put(t, s, "ab/journal", "not below a")
	want(t, "of a", names(t, s, "a"), "a/journal=1 a/v0/seg-10=3 a/v0/seg-2=3")
	want(t, "of a/v0", names(t, s, "a/v0"), "a/v0/seg-10=3 a/v0/seg-2=3")
	want(t, "of all", names(t, s, ""), "a/journal=1 a/v0/seg-10=3 a/v0/seg-2=3 ab/journal=11")
	for _, c := range []struct{ dir, want string }{{"", "a ab"}, {"a", "v0"}, {"a/v0", ""}, {"nothing", ""}} {
		dirs, err := s.Dirs(c.dir)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "directories below "+c.dir, strings.Join(dirs, " "), c.want)
	}
}

func testDelete(t *testing.T, again func() blob.Store) {
	s := again()
	put(t, s, "a/v0/one", "1")
	put(t, s, "a/v0/two", "2")
	put(t, s, "a/v1/one", "3")
	put(t, s, "b/one", "4")
	if err := s.Delete("a/v0/one"); err != nil {
		t.Fatal(err)
	}
	want(t, "one deleted", names(t, s, ""), "a/v0/two=1 a/v1/one=1 b/one=1")
	_, err := s.Open("a/v0/one")
	wantErr(t, "open it", err, blob.ErrNotFound)
	if err := s.DeleteAll("a"); err != nil {
		t.Fatal(err)
	}
	want(t, "all of a deleted", names(t, again(), ""), "b/one=1")
	put(t, s, "a/v0/one", "again")
	want(t, "a name that was deleted", get(t, s, "a/v0/one"), "again")
}

func testDeletedWhileRead(t *testing.T, again func() blob.Store) {
	s := again()
	content := bytes.Repeat([]byte("0123456789"), 20_000)
	put(t, s, "a/b", string(content))
	o, err := s.Open("a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := s.DeleteAll("a"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("what was open: %d bytes, %v; want %d", len(got), err, len(content))
	}
}

func testMany(t *testing.T, again func() blob.Store) {
	s := again()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 20 {
				name := fmt.Sprintf("s%d/v0/seg-%d", i, n)
				w, err := s.Create(name)
				if err == nil {
					err = w.Append([]byte(name))
				}
				if err == nil {
					err = w.Close()
				}
				if err == nil && n%2 == 1 {
					err = s.Delete(name)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	all, err := s.List("")
	if err != nil || len(all) != 80 {
		t.Fatalf("got %d objects, %v; want 80", len(all), err)
	}
	if !slices.IsSortedFunc(all, func(a, b blob.Info) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not in order")
	}
	for _, i := range all {
		want(t, i.Name, get(t, s, i.Name), i.Name)
	}
}
