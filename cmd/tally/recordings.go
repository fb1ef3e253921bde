package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"tally/internal/blob"
	"tally/internal/hls/archive"
	"tally/internal/livestream"
)

// vodPrefix is where recordings are played.
const vodPrefix = "/vod/"

// isVOD reports whether a path is one of a recording's files. /vod/{session_id}
// alone is a page.
func isVOD(path string) bool {
	rest, ok := strings.CutPrefix(path, vodPrefix)
	return ok && strings.IndexByte(rest, '/') > 0
}

// sweepEvery is how often segments of no use are looked for; the first time is
// soon after the start.
const sweepEvery = time.Hour

// openArchive opens the segments at rest.
func (s *server) openArchive() (err error) {
	if s.segments, err = blob.OpenDisk(filepath.Join(s.flags.DataDir, "segments"), blob.DiskConfig{}); err != nil {
		return err
	}
	s.archive = archive.New(archive.Config{Blobs: s.segments, Log: s.log})
	return nil
}

// closeArchive waits for what is still to be written.
func (s *server) closeArchive() {
	if s.archive == nil {
		return
	}
	s.archive.Close()
	if err := s.segments.Close(); err != nil {
		s.log.Error("close segments", "err", err)
	}
}

// sweepArchive deletes segments of no use until ctx ends.
func (s *server) sweepArchive(ctx context.Context) {
	next := time.NewTimer(10 * time.Second) // what the last crash left
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		err := s.archive.Sweep(ctx, archive.Keeper{Runs: s.openRuns, Exists: s.playbackExists, For: s.flags.KeepRecordings.or(0)}, time.Now())
		if err != nil && ctx.Err() == nil {
			s.log.Error("segments of no use could not be deleted", "err", err)
		}
		next.Reset(sweepEvery)
	}
}

// openRuns are the runs that may go on.
func (s *server) openRuns(ctx context.Context) (map[string]bool, error) {
	all, err := s.store.OpenRecords(ctx)
	if err != nil {
		return nil, err
	}
	runs := make(map[string]bool, len(all))
	for _, r := range all {
		runs[r.Livestream.Run.ID] = true
	}
	return runs, nil
}

// playbackExists reports whether the livestream of a playback id was not deleted.
func (s *server) playbackExists(ctx context.Context, id string) (bool, error) {
	_, err := s.store.RecordByPlaybackID(ctx, id)
	if errors.Is(err, livestream.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
