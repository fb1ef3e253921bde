package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// What a body says of itself decides whether it is read (contract 3.5).
func TestContentTypes(t *testing.T) {
	w := newWorld(t)
	const body = `{"name":"x"}`
	for _, c := range []struct {
		name, header, value, body string
		want                      int
	}{
		{"JSON", "Content-Type", "application/json", body, 201},
		{"JSON with its charset", "Content-Type", "Application/JSON; charset=UTF-8", body, 201},
		{"some JSON", "Content-Type", "application/merge-patch+json", body, 201},
		{"none", "Content-Type", "", body, 201},
		{"what curl -d sends", "Content-Type", "application/x-www-form-urlencoded", body, 201},
		{"a form", "Content-Type", "application/x-www-form-urlencoded", "name=x", 400},
		{"text", "Content-Type", "text/plain", body, 400},
		{"XML", "Content-Type", "application/xml", "<name>x</name>", 400},
		{"a form of parts", "Content-Type", "multipart/form-data; boundary=b", body, 400},
		{"another charset", "Content-Type", "application/json; charset=utf-16", body, 400},
		{"nonsense", "Content-Type", "application/json;;=", body, 400},
		{"nonsense, nothing to read", "Content-Type", "text/plain", "", 201},
		{"compressed", "Content-Encoding", "gzip", body, 400},
		{"as it is", "Content-Encoding", "identity", body, 201},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := w.call("POST", base+"/livestreams", c.body, c.header, c.value)
			if rec.Code != c.want {
				t.Errorf("%d, want %d: %s", rec.Code, c.want, rec.Body)
			}
		})
	}
}

// TestRequestsThatNetHTTPSees: what comes as bytes, through net/http. Its own
// refusals are short texts; whatever reaches the API is answered in both
// dialects, and nothing is a fault of the server.
func TestRequestsThatNetHTTPSees(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewServer(w.h)
	defer srv.Close()
	auth := "Host: t\r\nAuthorization: Bearer " + w.token + "\r\nConnection: close\r\n"
	post := "POST " + base + "/livestreams HTTP/1.1\r\n" + auth
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		name, raw string
		want      int
		ours      bool // answered by the API
	}{
		{"as it should be", "GET " + base + "/livestreams HTTP/1.1\r\n" + auth + "\r\n", 200, true},
		{"a slash escaped", "GET " + base + "/livestreams%2fx HTTP/1.1\r\n" + auth + "\r\n", 404, true},
		{"a step back, escaped", "GET " + base + "/livestreams/%2e%2e/meetings HTTP/1.1\r\n" + auth + "\r\n", 404, true},
		{"a step back", "GET " + base + "/livestreams/../meetings HTTP/1.1\r\n" + auth + "\r\n", 404, true},
		{"a NUL in an id", "GET " + base + "/livestreams/%00 HTTP/1.1\r\n" + auth + "\r\n", 404, true},
		{"an id that is not UTF-8", "GET " + base + "/livestreams/%ff%fe HTTP/1.1\r\n" + auth + "\r\n", 404, true},
		{"a long id", "GET " + base + "/livestreams/" + long + " HTTP/1.1\r\n" + auth + "\r\n", 404, true},
		{"a wrong escape", "GET " + base + "/livestreams/%zz HTTP/1.1\r\n" + auth + "\r\n", 400, false},
		{"a blank in the path", "GET " + base + "/a b HTTP/1.1\r\n" + auth + "\r\n", 400, false},
		{"a method of our own", "BREW " + base + "/livestreams HTTP/1.1\r\n" + auth + "\r\n", 405, true},
		{"CONNECT", "CONNECT t:80 HTTP/1.1\r\n" + auth + "\r\n", 404, true},
		{"OPTIONS of everything", "OPTIONS * HTTP/1.1\r\n" + auth + "\r\n", 200, false},
		{"an address in full", "GET http://other" + base + "/livestreams HTTP/1.1\r\n" + auth + "\r\n", 200, true},
		{"two hosts", "GET " + base + "/livestreams HTTP/1.1\r\nHost: a\r\n" + auth + "\r\n", 400, false},
		{"two lengths", post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, false},
		{"two tokens", "GET " + base + "/livestreams HTTP/1.1\r\nAuthorization: Bearer x\r\n" + auth + "\r\n", 401, true},
		{"a body in chunks", post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 201, true},
		{"broken chunks", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}", 400, true},
		{"a body that ends early", post + "Content-Length: 90\r\n\r\n{}", 400, true},
		{"a body with GET", "GET " + base + "/livestreams HTTP/1.1\r\n" + auth + "Content-Length: 2\r\n\r\n{}", 200, true},
		{"HTTP/1.0", "GET " + base + "/livestreams HTTP/1.0\r\nAuthorization: Bearer " + w.token + "\r\n\r\n", 200, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, header, body := raw(t, srv.Listener.Addr().String(), c.raw, c.want == 400)
			if status != c.want {
				t.Fatalf("%d, want %d: %s", status, c.want, body)
			}
			if !c.ours {
				return
			}
			var answer struct {
				Success bool
				Errors  []struct{ Message string }
				Error   struct{ Message string }
			}
			if err := json.Unmarshal(body, &answer); err != nil || header.Get("Content-Type") != "application/json" {
				t.Fatalf("%v: %s %s", err, header, body)
			}
			if status >= 400 && (answer.Success || len(answer.Errors) == 0 || answer.Errors[0].Message == "" || answer.Error.Message != answer.Errors[0].Message) {
				t.Errorf("not both dialects: %s", body)
			}
		})
	}
}

// raw sends bytes, says that nothing follows if so, and reads one answer.
func raw(t *testing.T, addr, request string, end bool) (status int, h http.Header, body []byte) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = fmt.Fprint(c, request)
	must(t, err)
	if end { // net/http takes this for a client that is gone, once a request is whole
		must(t, c.(*net.TCPConn).CloseWrite())
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, resp.Header, body
}
