package health

import (
	"fmt"
	"time"
)

// noSound is how long audio may be away while video comes. Encoders interleave
// the two to within a second; OBS sends silence where a source is mute.
const noSound = 5 * time.Second

// checkSound says that a track's audio is missing, or "". A stream without audio
// that announced none is meant so. onMetaData announces it, or the audio's
// configuration, or that it came before.
func (w *Watcher) checkSound(l *lane) string {
	var picture *lane // the one that sends
	for _, p := range w.pictures {
		if p.seen && (picture == nil || p.last > picture.last) {
			picture = p
		}
	}
	if picture == nil || w.now-picture.last > noSound/2 {
		return "" // nothing comes, or no picture either: that is said otherwise
	}
	away := w.now - max(l.last, picture.first)
	switch {
	case away < noSound:
		return ""
	case l.seen:
		return fmt.Sprintf("no audio for %s although the encoder sent it before (the limit is %s); "+
			"check that the Audio Track is selected in the output's settings and that its source runs", span(away), seconds(noSound))
	case l.announced || l.Codec != 0:
		return fmt.Sprintf("no audio for %s although the encoder announced it (the limit is %s); "+
			"select an Audio Track in the output's settings, or take the audio out", span(away), seconds(noSound))
	}
	return ""
}
