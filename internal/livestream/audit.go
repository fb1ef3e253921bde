package livestream

import "time"

// A Retention says how long rows are kept that only tell how a figure came
// about. Sessions and their seconds are kept for ever.
type Retention struct {
	Viewings time.Duration // a row per viewer, since its last evidence; 0: none is written
	Timeline time.Duration // facts and ingest intervals
	Windows  time.Duration // usage windows, which after that cannot be told from new ones
}

// DefaultRetention is design section 3, Kept, and section 4.
var DefaultRetention = Retention{
	Viewings: 30 * 24 * time.Hour,
	Timeline: 90 * 24 * time.Hour,
	Windows:  7 * 24 * time.Hour,
}
