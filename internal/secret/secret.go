// Package secret keeps stream keys and tokens out of logs, errors and JSON that
// was not meant to carry them.
package secret

import "log/slog"

// A String prints as REDACTED however it is formatted, logged or marshalled.
// Reveal is the one way to its text, so that every use can be found by name.
type String struct{ text string }

// New wraps text.
func New(text string) String { return String{text} }

// Reveal returns the text itself.
func (s String) Reveal() string { return s.text }

// IsZero reports whether there is no text.
func (s String) IsZero() bool { return s.text == "" }

const redacted = "REDACTED"

// String implements fmt.Stringer.
func (s String) String() string { return redacted }

// GoString implements fmt.GoStringer, for %#v.
func (s String) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (s String) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, so that a value that slips
// into JSON or YAML is redacted there too.
func (s String) MarshalText() ([]byte, error) { return []byte(redacted), nil }
