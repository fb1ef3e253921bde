package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"tally/internal/web/apidocs"
)

// A made file is an answer that stays the same while the server runs. Unlike
// an asset it keeps its address from version to version, so a cache asks each
// time whether its copy is still good.
type made struct {
	contentType string
	etag        string
	plain, gz   []byte
}

func newMade(contentType string, body []byte) made {
	var gz bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&gz, gzip.BestCompression) // the level exists
	zw.Write(body)
	zw.Close()
	sum := sha256.Sum256(body)
	return made{contentType, hex.EncodeToString(sum[:12]), body, gz.Bytes()}
}

// serve answers with the file, or with 304 to who has it.
func (m made) serve(w http.ResponseWriter, r *http.Request) {
	hdr := w.Header()
	hdr.Set("Cache-Control", "no-cache")
	hdr.Set("Vary", "Accept-Encoding")
	body, etag := m.plain, `"`+m.etag+`"`
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		body, etag = m.gz, `"`+m.etag+`-gz"` // other bytes, other tag (RFC 9110 section 8.8.3.3)
		hdr.Set("Content-Encoding", "gzip")
	}
	hdr.Set("ETag", etag)
	if has := r.Header.Get("If-None-Match"); strings.Contains(has, etag) || has == "*" {
		hdr.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	hdr.Set("Content-Type", m.contentType)
	hdr.Set("Content-Length", strconv.Itoa(len(body)))
	write(w, r, body)
}

// documents are what is made from the contract.
type documents struct {
	contract made // /openapi.json
	page     made // /docs
}

// documentation answers /docs and /openapi.json.
func (h *Handler) documentation(w http.ResponseWriter, r *http.Request) {
	d, err := h.document()
	switch {
	case err != nil: // the binary was built from a damaged tree
		h.fault(w, r, err)
	case r.URL.Path == "/docs":
		w.Header().Set("Content-Security-Policy", unframed)
		d.page.serve(w, r)
	default:
		d.contract.serve(w, r)
	}
}

// makeDocuments takes some 100 ms.
func (h *Handler) makeDocuments(contract []byte) (documents, error) {
	d, err := apidocs.Parse(contract)
	if err != nil {
		return documents{}, err
	}
	var page bytes.Buffer
	if err := h.pages.ExecuteTemplate(&page, "docs.html", docsView{view{Root: "./", assets: h.assets}, d}); err != nil {
		return documents{}, err
	}
	return documents{newMade("application/json", d.JSON), newMade("text/html; charset=utf-8", page.Bytes())}, nil
}

// A docsView is what docs.html sees.
type docsView struct {
	view
	Doc *apidocs.Document
}
