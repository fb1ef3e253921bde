package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
)

// listeners are the server's open ports. https, rtmps and admin are nil when off.
type listeners struct {
	http, https, rtmp, rtmps, admin net.Listener
}

// openListeners opens every port that f names, or none.
func openListeners(f *serverFlags) (*listeners, error) {
	l := &listeners{}
	ports := []struct {
		flag, addr string
		ln         *net.Listener
	}{
		{"--http-addr", f.HTTPAddr, &l.http},
		{"--https-addr", f.HTTPSAddr, &l.https},
		{"--rtmp-addr", f.RTMPAddr, &l.rtmp},
		{"--rtmps-addr", f.RTMPSAddr, &l.rtmps},
		{"--admin-addr", f.AdminAddr, &l.admin},
	}
	for _, p := range ports {
		if p.addr == "" {
			continue
		}
		ln, err := net.Listen("tcp", p.addr)
		if f.anyPort && errors.Is(err, syscall.EADDRINUSE) {
			host, _, _ := net.SplitHostPort(p.addr)
			ln, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
		}
		if err != nil {
			l.close()
			return nil, listenError(p.flag, p.addr, err)
		}
		*p.ln = ln
	}
	return l, nil
}

// listenError says which flag to change, and how.
func listenError(flag, addr string, err error) error {
	host, _, _ := net.SplitHostPort(addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %s is taken by another program: stop it, or choose another port, for example %s %s:0 for any free one",
			flag, addr, flag, host)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s %s needs more rights than this user has: choose a port above 1023", flag, addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s %s: this machine has no such address: leave the host out to listen on all", flag, addr)
	}
	return fmt.Errorf("%s %s: %w", flag, addr, err)
}

func (l *listeners) close() {
	for _, ln := range []net.Listener{l.http, l.https, l.rtmp, l.rtmps, l.admin} {
		if ln != nil {
			ln.Close()
		}
	}
}

// log writes the one line that tells programs where the server listens.
func (l *listeners) log(log *slog.Logger) {
	attrs := []any{"http", l.http.Addr().String(), "rtmp", l.rtmp.Addr().String()}
	if l.https != nil {
		attrs = append(attrs, "https", l.https.Addr().String())
	}
	if l.rtmps != nil {
		attrs = append(attrs, "rtmps", l.rtmps.Addr().String())
	}
	admin := ""
	if l.admin != nil {
		admin = l.admin.Addr().String()
	}
	log.Info("listening", append(attrs, "admin", admin)...)
}

// checkDataDir creates dir and proves that it can be written.
func checkDataDir(dir string) error {
	if dir == "" {
		return fmt.Errorf("--data-dir is empty: give a directory")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dataDirError(dir, err)
	}
	probe, err := os.CreateTemp(dir, ".write-test-*")
	if err != nil {
		return dataDirError(dir, err)
	}
	probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		return dataDirError(dir, err)
	}
	return nil
}

func dataDirError(dir string, err error) error {
	cause := err
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		cause = pathErr.Err
	}
	return fmt.Errorf("--data-dir %s cannot be written (%s): make it writable for this user, or choose another directory",
		dir, strings.ToLower(cause.Error()))
}
