package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdReceiver takes webhooks until the script ends, appends each body as a line
// to FILE, and sets VARIABLE to its address: receiver VARIABLE FILE. It answers
// 200 and "ok"; below /500 that status and "no".
func cmdReceiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: receiver VARIABLE FILE")
	}
	f, err := os.OpenFile(ts.MkAbs(args[1]), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	var mu sync.Mutex // of the file
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		fmt.Fprintf(f, "%s\n", body)
		mu.Unlock()
		if status, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/")); err == nil {
			w.WriteHeader(status)
			io.WriteString(w, "no")
			return
		}
		io.WriteString(w, "ok")
	}))
	ts.Defer(func() {
		server.Close()
		f.Close()
	})
	ts.Setenv(args[0], server.URL)
}
