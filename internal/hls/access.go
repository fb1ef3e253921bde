package hls

// Access returns what SetAccess stored; nil when nothing was. It takes no lock.
func (s *Stream) Access() any { return s.access.Load() }

// SetAccess keeps with the run who may watch it. What that is, the edge knows
// alone; here it is, because every request finds its run anyway. Its type must
// be the same at each call. A run begins without.
func (s *Stream) SetAccess(a any) { s.access.Store(a) }

// Streams returns the runs of a playback id that are in memory, newest first. Do
// not change them.
func (r *Registry) Streams(playbackID string) []*Stream { return (*r.streams.Load())[playbackID] }
