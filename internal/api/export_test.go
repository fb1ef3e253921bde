package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"tally/internal/auth"
)

// Routes lists "METHOD path" of every route.
func Routes() []string {
	var list []string
	for _, rt := range routes {
		list = append(list, rt.method+" "+rt.path)
	}
	return list
}

// marshal is encoding/json without HTML escapes, as every answer is written.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// A Bucketed is a limiter for tests.
type Bucketed struct{ l *limiter[string] }

func NewBucketed(n int) Bucketed { return Bucketed{newLimiter[string](n)} }

// Take returns 0, or after how many whole seconds to ask again.
func (b Bucketed) Take(key string) int {
	err := b.l.take(key)
	if err == nil {
		return 0
	}
	n, _ := strconv.Atoi(errorAs[limited](err).seconds())
	return n
}

// Len is how many buckets there are.
func (b Bucketed) Len() (n int) {
	for i := range b.l.parts {
		n += len(b.l.parts[i].buckets)
	}
	return n
}

// ClientOf is the client address of a request at a server with these trusted
// proxies, and the address by which it is counted.
func ClientOf(r *http.Request, trusted ...netip.Prefix) (client, counted netip.Addr) {
	s := &server{Config: Config{TrustedProxies: trusted}}
	client = s.client(r)
	return client, perSubscriber(client)
}

// A Row is one line of the table of routes.
type Row struct {
	Method, Path string
	Need         auth.Permission // 0: none
}

// Table is the table of routes.
func Table() (rows []Row) {
	for _, rt := range routes {
		rows = append(rows, Row{rt.method, rt.path, rt.need})
	}
	return rows
}

// AnswersRetries reports whether a retried POST to this route creates nothing
// twice.
func AnswersRetries(path string) bool {
	_, ok := creations[path]
	return ok
}

// FillBuckets lets everyone ask again, as time would.
func FillBuckets(h http.Handler) {
	s := h.(*server)
	s.perToken, s.perAddress = newLimiter[string](s.RateLimit), newLimiter[netip.Addr](s.AddressRateLimit)
}

// MaxRefusals is how many refused creations are known.
const MaxRefusals = maxRefusals

// A Refused is a refusals for tests.
type Refused struct{ f refusals }

func (r *Refused) Add(request byte, retry int, at time.Time) {
	r.f.add([32]byte{request, byte(retry >> 8)}, uint64(retry), at)
}

func (r *Refused) Original(request byte, retry int, at time.Time) bool {
	return r.f.original([32]byte{request, byte((retry - 1) >> 8)}, uint64(retry), at)
}

func (r *Refused) Len() int { return len(r.f.expects) }
