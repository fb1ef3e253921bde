// Package docs holds the contract of the API, for the binary to show and for
// tests to hold answers against. It imports nothing.
package docs

import _ "embed"

// OpenAPI is openapi.yaml: OpenAPI 3.1, the one source of what the API takes
// and answers. Nobody may write to it.
//
//go:embed openapi.yaml
var OpenAPI []byte
