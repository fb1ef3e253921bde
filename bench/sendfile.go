package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A fileServer is nginx with sendfile, and the files that it hands out: what ours
// handed out while it was recorded, written as a recorder to disk would.
type fileServer struct {
	*child
	dir  string
	port int
}

// startFileServer runs nginx without a cache of open files and without a log.
func (b *bench) startFileServer(ctx context.Context, program string) (*fileServer, error) {
	dir, err := b.dataDir()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(fileServerConf(dir, port)), 0o600); err != nil {
		return nil, err
	}
	c, err := startChild(ctx, "nginx", program, []string{"-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log")})
	if err != nil {
		return nil, err
	}
	if err := reachable(ctx, c, port); err != nil {
		c.stop()
		return nil, err
	}
	return &fileServer{c, dir, port}, nil
}

func fileServerConf(dir string, port int) string {
	return strings.NewReplacer("DIR", dir, "PORT", strconv.Itoa(port)).Replace(`
daemon off;
master_process off;
pid DIR/nginx.pid;
error_log DIR/error.log crit;
events { worker_connections 8192; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 75s;
  keepalive_requests 100000;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  types { application/vnd.apple.mpegurl m3u8; video/mp4 mp4 m4s; }
  server {
    listen 127.0.0.1:PORT;
    root DIR/www;
  }
}
`)
}

func (f *fileServer) url() string {
	return fmt.Sprintf("http://127.0.0.1:%d/hls/bare/index.m3u8", f.port)
}

// replay writes the recording to files at its pace.
func (f *fileServer) replay(ctx context.Context, rec *recording) (*replay, error) {
	uri, err := mediaURI(string(rec.Multivariant))
	if err != nil {
		return nil, err
	}
	www := filepath.Join(f.dir, "www", "hls", "bare")
	media := filepath.Join(www, filepath.FromSlash(path.Dir(uri)))
	if err := os.MkdirAll(media, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(www, "index.m3u8"), rec.Multivariant, 0o644); err != nil {
		return nil, err
	}
	if err := errors.Join(writeFiles(media, rec.Before), writeStep(media, &rec.Steps[0])); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &replay{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		began := time.Now()
		for i := 1; i < len(rec.Steps) && r.err == nil; i++ {
			if r.err = pause(ctx, time.Until(began.Add(time.Duration(rec.Steps[i].At)))); r.err == nil {
				r.err = writeStep(media, &rec.Steps[i])
			}
		}
	}()
	return r, nil
}

// writeStep writes what a step adds, and then the playlist that lists it.
func writeStep(dir string, s *step) error {
	if err := writeFiles(dir, s.Media); err != nil {
		return err
	}
	list := filepath.Join(dir, "index.m3u8")
	if err := os.WriteFile(list+".new", s.Playlist[0], 0o644); err != nil {
		return err
	}
	return os.Rename(list+".new", list)
}

// writeFiles writes media but parts: players of whole segments ask for none.
func writeFiles(dir string, media map[string][]byte) error {
	for name, body := range media {
		if strings.HasPrefix(name, "part-") {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// besideFiles measures nginx with the same segments as files, where it is there.
func (b *bench) besideFiles(ctx context.Context, s *stage, n int, ours *traffic, name string) error {
	paths, ok := b.findNginx()
	if !ok {
		b.say("%s: no nginx to compare with", name)
		return nil
	}
	f, err := b.startFileServer(ctx, paths[0])
	if err != nil {
		return err
	}
	defer f.stop()
	var files traffic
	for range b.Rounds {
		replay, err := f.replay(ctx, s.rec)
		if err != nil {
			return err
		}
		err = b.segments(ctx, &files, f.child, f.url(), n)
		replay.stop()
		if err != nil {
			return err
		}
	}
	b.add(row{Scenario: name, What: "the same beside nginx with sendfile", Unit: "s", Ours: ours.perGbit(), Bare: files.perGbit()}.
		noted(fmt.Sprintf("the other is nginx; it had %d stalls, errors and jumps %s", files.errors, files.first)))
	return nil
}
