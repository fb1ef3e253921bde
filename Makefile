# Two commands matter: `make run` shows Tally with a livestream on air,
# `make test` checks everything on a fresh Debian machine with Go.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BUILD   := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: run build test quick deps lint race conformance browser vuln bench walks crash fleet model fuzz fuzz-api matrix players hostile

run: build
	./bin/tally demo

build:
	$(BUILD) -o bin/tally ./cmd/tally

# Everything, in the order in which a failure is cheapest. About eighteen minutes on
# two cores.
# The last two wait for real broadcasts most of the time, and so side by side.
test: deps lint race
	$(MAKE) -j2 --output-sync=target conformance browser

# What to run while working: no tools beyond Go and ffmpeg.
quick:
	go vet ./...
	go test $$(go list ./... | grep -v '/conformance')

deps:
	./scripts/install-test-deps.sh

lint:
	@unformatted=$$(gofmt -l bench cmd conformance crash docs internal); \
		if [ -n "$$unformatted" ]; then echo "gofmt -w these files:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go vet -tags browser ./internal/web/...
	go tool staticcheck -tags browser ./...

# The official clients are large generated packages: -race would compile them a
# second time and finds nothing in them. -p 2: some packages drive ffmpeg in real
# time and must not starve each other.
race:
	CGO_ENABLED=1 go test -race -p 2 -timeout 10m $$(go list ./... | grep -v '/conformance')

# One package after the other: real broadcasts must not starve each other. Never
# cached: the tests build the binary themselves, which the cache does not see.
conformance:
	go test -count=1 -p 1 -timeout 12m ./conformance/...

# The watch page and stock players in Chromium, one package at a time: a browser takes a core.
browser:
	go test -count=1 -tags browser -p 1 -timeout 10m ./internal/web/e2e/...

vuln:
	go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

bench:
	go run ./bench

# The walks with the watch page of each in Chromium; `make conformance` does them
# without, and conformance/e2e's TestVisible 5 times instead of 100.
walks:
	go test -count=1 -v -timeout 10m ./conformance/walks -browser
	go test -count=1 -v -timeout 10m ./conformance/e2e -run Visible -rounds 100

# Kills the server 200 times at random moments; `make race` does it 10 times.
crash:
	go test -count=1 -v -timeout 30m ./crash -rounds 200

# A thousand scripted players for a minute, each with its own book of what it was
# given, against what the server counts; `make conformance` has a hundred of them.
fleet:
	go test -count=1 -v -timeout 20m ./conformance/fleet -large

# The long versions of what `make race` samples: 300,000 interleavings against a
# second reading of the state machine, 20,000 runs of chaos, a day in SQLite, and
# over loopback 10,000 races of two publishers and 1,000 quick cycles; an hour.
# docs/states.md says more, and how to set a seed.
model:
	go test -count=1 -v -timeout 0 -run 'TestInterleavings|TestChaos|TestDay' ./internal/ingest -interleavings 300000 -chaos 20000 -model-disk 1000 -day-on-disk
	CGO_ENABLED=1 go test -race -count=1 -v -timeout 0 -run 'TestRaces|TestQuickCycles' ./internal/ingest/loopback -races 10000 -cycles 1000

# An hour of each source of the matrix in virtual time, and all of real media
# through the built binary, against the strict player; `make conformance` has half a
# minute of each and three real ones. About ten minutes.
matrix:
	go test -count=1 -v -timeout 60m ./conformance/matrix -long

# ffmpeg, mpv, GStreamer and VLC over all kinds of broadcasts and codecs; `make
# conformance` has two short ones. About four minutes.
players:
	go test -count=1 -v -timeout 20m ./conformance/players -long

# Encoders that no encoder should be like, ten seconds of each, beside a healthy
# broadcast; `make conformance` has half a second of each. About three minutes.
hostile:
	go test -count=1 -v -timeout 20m ./conformance/hostile -long

# Each fuzz target for a few seconds: a check that they still run, not a search.
fuzz:
	@set -e; for pkg in $$(go list ./internal/... ); do \
		dir=$$(go list -f '{{.Dir}}' $$pkg); \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go 2>/dev/null | sed 's/^func //'); do \
			echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime 5s $$pkg; \
		done; done

# A million requests made from docs/openapi.yaml, right and wrong, against the
# whole server in one process; minutes. TALLY_FUZZ_SEED makes it another million.
fuzz-api:
	TALLY_FUZZ_REQUESTS=$${TALLY_FUZZ_REQUESTS:-1000000} nice go test -count=1 -v -timeout 0 -run TestAPIFuzz ./cmd/tally
