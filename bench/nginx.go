package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// nginxPaths are where Debian's nginx and libnginx-mod-rtmp put their files.
var nginxPaths = struct{ program, module string }{"/usr/sbin/nginx", "/usr/lib/nginx/modules/ngx_rtmp_module.so"}

// findNginx returns the peer to compare ingest with, where it is installed.
func (b *bench) findNginx() (paths [2]string, ok bool) {
	program, module := b.Nginx, b.NginxModule
	if program == "" {
		program = nginxPaths.program
		if p, err := exec.LookPath("nginx"); err == nil {
			program = p
		}
	}
	if module == "" {
		module = nginxPaths.module
	}
	for _, p := range []string{program, module} {
		if _, err := os.Stat(p); err != nil {
			return paths, false
		}
	}
	return [2]string{program, module}, true
}

// nginxIngest measures nginx-rtmp as it is run for HLS: one worker, segments of
// 2 s on disk, access log off.
func (b *bench) nginxIngest(ctx context.Context, nginx [2]string, n int) (ingestLoad, error) {
	dir, err := b.dataDir()
	if err != nil {
		return ingestLoad{}, err
	}
	port, err := freePort()
	if err != nil {
		return ingestLoad{}, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(nginxConf(dir, nginx[1], port)), 0o600); err != nil {
		return ingestLoad{}, err
	}
	c, err := startChild(ctx, "nginx", nginx[0], []string{"-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log")})
	if err != nil {
		return ingestLoad{}, err
	}
	defer c.stop()
	if err := reachable(ctx, c, port); err != nil {
		return ingestLoad{}, err
	}
	urls := make([]string, n)
	for i := range urls {
		urls[i] = fmt.Sprintf("rtmp://127.0.0.1:%d/live/bench%d", port, i)
	}
	var airs []*broadcast
	l, err := b.ingest(ctx, c, urls, func(a []*broadcast) func() { airs = a; return func() {} })
	written, globErr := filepath.Glob(filepath.Join(dir, "hls", "*.ts"))
	stopAll(airs) // how it says goodbye is not measured
	if err == nil && globErr == nil && len(written) < n {
		err = fmt.Errorf("it wrote %d segments for %d publishers: %s", len(written), n, c.lastLines())
	}
	return l, errors.Join(err, globErr)
}

func nginxConf(dir, module string, port int) string {
	return strings.NewReplacer("DIR", dir, "MODULE", module, "PORT", strconv.Itoa(port)).Replace(`
load_module MODULE;
daemon off;
master_process off;
pid DIR/nginx.pid;
error_log DIR/error.log crit;
events { worker_connections 4096; }
rtmp {
  access_log off;
  server {
    listen 127.0.0.1:PORT;
    chunk_size 65536;
    application live {
      live on;
      hls on;
      hls_path DIR/hls;
      hls_fragment 2s;
      hls_playlist_length 12s;
    }
  }
}
`)
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// reachable waits until something listens.
func reachable(ctx context.Context, c *child, port int) error {
	for range 100 {
		if nc, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second); err == nil {
			return nc.Close()
		}
		select {
		case <-c.exited:
			return fmt.Errorf("nginx ended: %s", c.lastLines())
		default:
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("nginx does not listen: %s", c.lastLines())
}
