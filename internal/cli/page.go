package cli

import (
	"bytes"
	"encoding/json"
)

// A livestreamPage is L2's data in any of its three shapes (contract 6.4):
// upstream's array, the declared object that names one livestream, and Tally's
// object, which has the whole page under livestreams too.
type livestreamPage struct {
	Items  []Livestream
	Paging Paging // of inside data; zero where it is beside it
	single bool   // the declared object: one livestream, however many the page has
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *livestreamPage) UnmarshalJSON(b []byte) error {
	if trimmed := bytes.TrimSpace(b); len(trimmed) > 0 && trimmed[0] == '[' {
		return json.Unmarshal(b, &p.Items)
	}
	var object struct {
		Livestream
		Paging      Paging        `json:"paging"`
		Livestreams *[]Livestream `json:"livestreams"`
	}
	if err := json.Unmarshal(b, &object); err != nil {
		return err
	}
	p.Paging = object.Paging
	switch {
	case object.Livestreams != nil:
		p.Items = *object.Livestreams
	case object.ID != "":
		p.Items, p.single = []Livestream{object.Livestream}, true
	}
	return nil
}
