# Chronik's targets. `make` alone lists them.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN     := bin/chronik
TOOLS   := $(CURDIR)/.tools/bin
RELEASE ?=
LDFLAGS := $(if $(RELEASE),-X github.com/chronik-stream/chronik/internal/version.Release=$(RELEASE))
# Everything but tests/, which needs the built binary and minutes.
UNIT     = $$(go list ./... | grep -v '/tests/')

# The folder with real data, which tests read where it is; the other three choose.
CHRONIK_TESTDATA ?= $(wildcard $(abspath ../shared/data))
export CHRONIK_TESTDATA
FUZZTIME ?= 10s
BENCH    ?= .
E2E      ?= .
SIM      ?= 1m

.PHONY: help build test e2e sim compat flight search vector iceberg demo cluster docker bench lint check fuzz tools race clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the binary, bin/chronik (needs Go and g++)
	go build -buildvcs=auto -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/chronik

# The report says whether tests failed. With CI=… one or two that did are tried again, alone, and named as unsteady.
REPORT := go run ./tests/report $(if $(CI),-again)

test: ## unit tests, a minute or two
	{ go test -json $(UNIT) || true; } | $(REPORT)

race: ## unit tests under the race detector
	{ go test -race -json $(UNIT) || true; } | $(REPORT)

# One package after the other: they measure times, and each takes all cores.
e2e: export CHRONIK_BIN = $(CURDIR)/$(BIN)
e2e: build ## end-to-end tests of the binary, minutes; E2E=regexp chooses, CHRONIK_TESTDATA=dir for the real data
	{ go test -count=1 -p 1 -timeout 25m -json -run '$(E2E)' ./tests/... || true; } | $(REPORT) -v

# Built with a runtime whose chance is seeded: see tests/sim/exact.
sim: ## simulated clusters under faults, new seeds each time: a minute, or SIM=2h; SEED=42 plays that one, with CHANCE=1 exactly as before, TRACE=1 tells all
	go run ./tests/sim/exact -o bin/_exact
	go test -count=1 -timeout 0 -tags exact -overlay bin/_exact/overlay.json $(if $(TRACE),-v) -run '^($(if $(SEED),,TestASeedReplays|)TestTheClusterKeepsItsPromises)$$' ./tests/sim \
		-sim.for=$(SIM) $(if $(SEED),-sim.seed=$(SEED)) $(if $(CHANCE),-sim.chance=$(CHANCE)) $(if $(TRACE),-sim.trace)

demo: build ## see it work: events in over Kafka, answers out by SQL; KEEP=1 leaves the server running
	go run ./tests/demo -chronik $(BIN) $(if $(KEEP),-keep)

cluster: build ## a whole cluster of processes behind HAProxy, killed and checked, two minutes; KEEP=1 leaves it running
	go run ./tests/cluster -chronik $(BIN) $(if $(KEEP),-keep)

docker: ## the same cluster in containers, by hand: needs Docker with compose, and ports 9092, 6092 and 8404; KEEP=1 leaves it running
	go run ./tests/docker $(if $(KEEP),-keep)

compat: build ## real Kafka clients against the binary, minutes; UPDATE=1 writes docs/compatibility.md
	go run ./tests/compat -chronik $(BIN) $(if $(UPDATE),-update)

flight: build ## real clients of Arrow Flight SQL against the binary, a minute; tests/flight
	go run ./tests/flight -chronik $(BIN)

search: build ## real clients of Elasticsearch, Grafana's queries, judged answers, and damage, a minute; tests/search
	go run ./tests/search -chronik $(BIN)

vector: build ## recall, judged rankings, combinations and crashes of search by meaning, two minutes; tests/vector
	go run ./tests/vector -chronik $(BIN)

iceberg: build ## real readers of Apache Iceberg over a cluster's tables, a minute; READERS=python,spark for Spark, too
	go run ./tests/iceberg -chronik $(BIN) $(if $(READERS),-readers $(READERS))

bench: ## Go benchmarks; BENCH=regexp chooses. Whole-system figures: docs/benchmarks
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(UNIT)

lint: $(TOOLS)/staticcheck ## gofmt, go vet, staticcheck
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then echo "not gofmt'ed:"; echo "$$bad"; exit 1; fi
	go vet ./...
	$(TOOLS)/staticcheck ./...
	CGO_ENABLED=0 go build -tags nosql -o /dev/null ./cmd/chronik

fuzz: ## every fuzz target for FUZZTIME (10s) each
	@for file in $$(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do \
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
	    echo "$$target in $$(dirname $$file)"; \
	    go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) | tail -n 2; \
	  done; \
	done

tools: ## what tests and lint run beside Go: MinIO, versitygw, etcd, staticcheck, ONNX Runtime, into .tools (minutes, once)
	GOBIN=$(TOOLS) go -C tools install tool
	go build -o $(TOOLS)/etcd go.etcd.io/etcd/server/v3
	tools/onnxruntime $(TOOLS)/../onnxruntime

$(TOOLS)/staticcheck: tools/go.mod
	GOBIN=$(TOOLS) go -C tools install honnef.co/go/tools/cmd/staticcheck

check: lint test e2e demo cluster compat flight search vector iceberg ## what CI runs on every change

clean: ## remove what was built
	rm -rf bin .tools coverage.out
