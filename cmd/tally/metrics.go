package main

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is the handler of /metrics: the process, the build, and what the
// packages count. No metric has an id, a key or an address as a label.
func (s *server) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfoMetric())

	counter := func(name, help string, read func() int64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(read()) }))
	}
	gauge := func(name, help string, read func() int64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(read()) }))
	}

	rtmp := s.rtmp.Stats()
	counter("tally_rtmp_connections_total", "RTMP connections accepted.", rtmp.Accepted.Load)
	counter("tally_rtmp_connections_overflow_total", "RTMP connections closed at once because too many had not published.", rtmp.Overflow.Load)
	counter("tally_rtmp_refused_total", "RTMP connects and publishes answered with an error.", rtmp.Refused.Load)
	counter("tally_rtmp_messages_dropped_total", "Media messages that could not be used.", rtmp.FramesDropped.Load)
	counter("tally_cues_total", "Cues of encoders that were passed on.", rtmp.Cues.Load)
	counter("tally_cues_dropped_total", "Cues of encoders that were too many, or that no playlist can hold.", rtmp.CuesDropped.Load)
	counter("tally_rtmp_received_bytes_total", "Bytes received on RTMP connections that have ended.", rtmp.BytesReceived.Load)
	counter("tally_rtmp_panics_total", "RTMP connections ended by a bug of ours.", rtmp.Panics.Load)
	gauge("tally_rtmp_connections", "RTMP connections open now.", rtmp.Open.Load)
	gauge("tally_publishers", "Encoders publishing now.", rtmp.Publishing.Load)

	gauge("tally_viewers", "Viewers with evidence a moment ago.", func() int64 { return s.counter.Stats().Present })
	gauge("tally_viewer_records", "Viewers remembered, present or not.", func() int64 { return s.counter.Stats().Records })
	gauge("tally_viewer_rows_waiting", "Rows of viewers that are due and not stored yet.", func() int64 { return s.counter.Stats().Waiting })
	counter("tally_viewer_uncounted_total", "Deliveries and playlists not counted because too many viewers were present.", func() int64 { return s.counter.Stats().Refused })
	counter("tally_viewer_rows_lost_total", "Rows of viewers that had to make room before they were stored.", func() int64 { return s.counter.Stats().RowsLost })

	counter("tally_egress_bytes_total", "Bytes of playlists and media sent to viewers.", func() int64 { return s.playback.Stats().EgressBytes })
	counter("tally_thumbnails_total", "Pictures that ffmpeg made.", func() int64 { return s.playback.Stats().Thumbnails.Made })
	counter("tally_thumbnails_failed_total", "Pictures that ffmpeg could not make, or not in time.", func() int64 { return s.playback.Stats().Thumbnails.Failed })
	counter("tally_viewers_refused_total", "Multivariant playlists answered 503 because of --max-viewers or --max-egress.", func() int64 { return s.playback.Stats().Refused })

	gauge("tally_http_connections", "Connections without TLS open on --http-addr.", s.plain.open.Load)
	counter("tally_http_connections_total", "Connections accepted on --http-addr.", s.plain.accepted.Load)
	counter("tally_http2_errors_total", "Faults of HTTP/2 clients: frames, resets, floods.", func() int64 { return s.plain.http2Errors.Load() + s.secure.http2Errors.Load() })
	if s.ports.https != nil {
		gauge("tally_https_connections", "Connections open on --https-addr.", s.secure.open.Load)
		counter("tally_https_connections_total", "Connections accepted on --https-addr.", s.secure.accepted.Load)
		counter("tally_tls_handshakes_total", "TLS handshakes done on --https-addr.", s.secure.handshakes.Load)
		counter("tally_tls_resumed_total", "Of these, by a session ticket.", s.secure.resumed.Load)
		counter("tally_tls_http2_total", "Of these, that chose HTTP/2.", s.secure.spokeH2.Load)
		counter("tally_tls_failed_total", "TLS handshakes on --https-addr that failed or took too long.", s.secure.failed.Load)
	}
	if s.cert != nil {
		gauge("tally_tls_certificate_expires_seconds", "When the certificate ends, in seconds since 1970.", func() int64 { return s.cert.expires().Unix() })
		counter("tally_tls_certificate_loads_total", "Times that the certificate's files were read and taken over.", s.cert.loads.Load)
		counter("tally_tls_certificate_refused_total", "Times that changed files could not be taken over.", s.cert.refused.Load)
	}

	told := s.webhooks.Stats()
	counter("tally_webhook_delivered_total", "Events that webhooks took.", told.Delivered.Load)
	counter("tally_webhook_refused_total", "Events that webhooks refused: 3xx, 4xx.", told.Failed.Load)
	counter("tally_webhook_retried_total", "Tries that failed and are made again.", told.Retried.Load)
	counter("tally_webhook_given_up_total", "Events that were tried for 24 hours.", told.GivenUp.Load)
	gauge("tally_webhook_queue", "Deliveries still to be made; -1: the store cannot say.", func() int64 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		n, err := s.store.OpenDeliveries(ctx)
		if err != nil {
			return -1
		}
		return int64(n)
	})

	counter("tally_segments_written_bytes_total", "Media put on disk, for DVR windows and recordings.", s.archive.Written)
	counter("tally_segments_lost_total", "Segments that were to be put on disk and could not.", s.archive.Lost)

	gauge("tally_disk_free_bytes", "Free space in the data directory.", func() int64 {
		free, err := freeBytes(s.flags.DataDir)
		if err != nil {
			return -1
		}
		return int64(free)
	})
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// buildInfoMetric is 1, labelled with what `tally version` prints.
func buildInfoMetric() prometheus.Collector {
	b := readBuildInfo()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tally_build_info", Help: "1; the labels tell which build this is.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "go": b.Go},
	})
	g.Set(1)
	return g
}
