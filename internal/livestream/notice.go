package livestream

// Notices returns the events that the outside is to be told of when a record
// changes from before to after (contract 5.6): LIVE once a session can be
// played, OFFLINE once it is closed, whatever the cause. A reconnect, also over
// a restart, is neither; it is told of by HealthUpdate to those who ask for it.
//
// It reads no clock and does no I/O. Seq, StreamSeq and Meeting are the store's
// to fill in.
func Notices(before, after Record) []Notice {
	was, is := before.Session, after.Session
	if was.ID != is.ID {
		was = Session{} // a new session is compared with none
	}
	var list []Notice
	tell := func(event string, status Status, health string) {
		l := before.Livestream // with the key that the session was published with, not a new one
		list = append(list, Notice{
			Scope: l.Scope, Event: event, At: is.UpdatedAt, LivestreamID: l.ID, SessionID: is.ID,
			Status: status, Health: health, ErrMessage: is.ErrMessage(), ManualIngest: true,
			PlaybackID: l.PlaybackID, StreamKey: l.StreamKey,
		})
	}
	if was.StartedAt.IsZero() && !is.StartedAt.IsZero() {
		tell(StatusUpdate, StatusLive, "")
	}
	switch {
	case was.Phase != Reconnecting && is.Phase == Reconnecting:
		tell(HealthUpdate, StatusLive, HealthReconnecting)
	case was.Phase == Reconnecting && is.Phase == OnAir:
		tell(HealthUpdate, StatusLive, HealthOK)
	}
	if was.Phase.Open() && !is.Phase.Open() {
		tell(StatusUpdate, StatusOffline, "")
	}
	return list
}
