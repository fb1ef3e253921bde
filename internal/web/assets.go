package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// An asset is one static file, compressed once.
type asset struct {
	contentType string
	gz          []byte
	length      []string // Content-Length of gz
}

// assets are the static files by the names they are served under, which hold a
// hash of their content.
type assets struct {
	byName map[string]*asset
	hashed map[string]string // plain name to served name
}

var contentTypes = map[string]string{
	".js":  "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml",
	".txt": "text/plain; charset=utf-8",
}

// loadAssets reads static/ and the vendored player, whose files are compressed
// already.
func loadAssets() (assets, error) {
	a := assets{byName: map[string]*asset{}, hashed: map[string]string{}}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(name, "static/"):
			return a.add(path.Base(name), body, nil)
		case strings.HasSuffix(name, ".gz"):
			plain, err := gunzip(body)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return a.add(strings.TrimSuffix(path.Base(name), ".gz"), plain, body)
		case path.Base(name) == "LICENSE":
			return a.add("hls.js-license.txt", body, nil)
		}
		return nil
	})
	return a, err
}

// add names a file by its content: watch.css becomes watch-0123456789ab.css.
func (a *assets) add(name string, plain, gz []byte) error {
	ext := path.Ext(name)
	contentType := contentTypes[ext]
	if contentType == "" {
		return fmt.Errorf("static file %s: no content type for %q", name, ext)
	}
	if gz == nil {
		var buf bytes.Buffer
		zw, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression) // the level exists
		zw.Write(plain)
		zw.Close()
		gz = buf.Bytes()
	}
	sum := sha256.Sum256(plain)
	served := strings.TrimSuffix(name, ext) + "-" + hex.EncodeToString(sum[:6]) + ext
	a.hashed[name] = served
	a.byName[served] = &asset{contentType: contentType, gz: gz, length: []string{strconv.Itoa(len(gz))}}
	return nil
}

// name gives the served name of a plain one.
func (a assets) name(plain string) (string, error) {
	served, ok := a.hashed[plain]
	if !ok {
		return "", fmt.Errorf("no static file %s", plain)
	}
	return served, nil
}

// serve answers a static file. The name changes with the content, so that any
// cache may keep it for ever.
func (a assets) serve(w http.ResponseWriter, r *http.Request, name string) {
	f := a.byName[name]
	hdr := w.Header()
	if f == nil {
		hdr.Set("Cache-Control", "no-store")
		http.Error(w, "no such file: reload the page, it may be of an older version", http.StatusNotFound)
		return
	}
	hdr.Set("Content-Type", f.contentType)
	hdr.Set("Cache-Control", "public, max-age=31536000, immutable")
	hdr.Set("Vary", "Accept-Encoding")
	body := f.gz
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		hdr.Set("Content-Encoding", "gzip")
		hdr["Content-Length"] = f.length
	} else {
		body, _ = gunzip(f.gz) // was read back when it was loaded or made
		hdr.Set("Content-Length", strconv.Itoa(len(body)))
	}
	write(w, r, body)
}

// writeTimeout ends an answer that its reader does not take. The player, the
// largest file, has 190 KB.
const writeTimeout = time.Minute

// write sends a body, but for HEAD.
func write(w http.ResponseWriter, r *http.Request, body []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // tests' writers have none
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

func gunzip(b []byte) ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(zr)
}
