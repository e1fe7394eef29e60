# `make` lists the targets. Needed: Go, Node.js (its npm fetches the ClickHouse
# library once, for tests and the demo) and make.

SHELL := bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GO_BUILD = CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X gatewatch/internal/daemon.version=$(VERSION)'
TOOL = go tool -modfile=tools/go.mod
FUZZTIME ?= 60s
SCALE ?= 1
BROKERS ?= kfake,kafka
KEYS ?= 5000
CONSUMERS ?= 2000
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test race lint lint-runbooks fmt vuln bench bench-ingest bench-storage bench-scale bench-alert bench-kpi eval-kpi bench-decode bench-aggregate bench-freshness dashboards dashboards-check dashboards-pictures eval-aggregate eval-alerts replay e2e e2e-kafka faults kafka build engine fuzz clean need-go need-node need-java

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: need-go need-node build ## the whole path with traffic, an outage and its page (DEMO_SECONDS=120, LOG=access.log.gz, FORMAT=nginx_combined)
	@DEMO_SECONDS='$(DEMO_SECONDS)' LOG='$(LOG)' FORMAT='$(FORMAT)' go run ./internal/devtools/devstack

build: need-go ## static binaries in bin/
	@$(GO_BUILD) -o bin/ ./cmd/...

engine: need-go need-node ## fetch ClickHouse for tests and the demo, once
	@go run ./internal/devtools/engine

test: need-go need-node engine ## all tests, with the race detector
	go vet ./...
	go test -race -shuffle=on -timeout 15m $$(go list ./... | grep -v /internal/e2e)
	@# The tests of the whole path measure times: they get the machine for themselves.
	@if [ -d internal/e2e ]; then set -x; go test -race -p 1 -timeout 15m ./internal/e2e/...; fi

race: test ## the same as test

e2e: need-go need-node engine ## only the tests of the whole path
	go test -race -timeout 20m ./internal/e2e/...

faults: need-go need-node need-java engine ## inject every kind of fault on kfake and on Apache Kafka, prove that nothing is lost or doubled (SCALE=1, RUN=regexp, BROKERS=kfake,kafka)
	@go run ./internal/devtools/faults --scale '$(SCALE)' --run '$(RUN)' --brokers '$(BROKERS)'

kafka: need-go need-java ## run Apache Kafka in the foreground, with and without TLS
	@go run ./internal/devtools/kafka

e2e-kafka: need-go need-node need-java engine ## on Apache Kafka and ZooKeeper: links, logins, codecs, replicated tables, and the faults (SCALE=1, RUN=regexp)
	go test -race -count=1 -timeout 5m -tags kafka ./internal/devstack/realkafka ./internal/devstack/zookeeper
	go run ./internal/devtools/faults --brokers kafka --scale '$(SCALE)' --run '$(RUN)'

lint: need-go lint-runbooks ## lint code and runbooks; the first run compiles golangci-lint
	@$(TOOL) golangci-lint run ./...

lint-runbooks: need-go ## check the runbooks, and that every signal has one and every service an owner
	@go run ./cmd/alert check --config runbooks/lint.yaml >/dev/null
	@go run ./cmd/alert runbooks --config runbooks/lint.yaml
	@go run ./cmd/alert owners --config runbooks/lint.yaml

fmt: need-go ## format the code
	@$(TOOL) golangci-lint fmt

vuln: need-go ## known vulnerabilities, asked from vuln.go.dev
	@$(TOOL) govulncheck ./...

bench: need-go need-node engine ## rows/s and CPU per row of ingest, and the other benchmarks
	go test -run '^$$' -bench . -benchmem ./...
	go run ./internal/devtools/ingestbench

bench-ingest: need-go need-node engine ## CPU a row from Kafka to ClickHouse, by stage, beside ClickHouse's Kafka engine; then the ways to fill rollups (ROWS=1000000)
	@go run ./internal/devtools/ingestbench --rows '$(or $(ROWS),1000000)' --rollups
	@go run ./internal/devtools/ingestbench --rows '$(or $(ROWS),1000000)'

bench-storage: need-go need-node engine ## bytes a row by column, orders of the sorting key, sizes for rates of requests (ROWS=1000000)
	@go run ./internal/devtools/storagebench --requests '$(or $(ROWS),1000000)'

bench-scale: need-go need-node engine ## CPU a row with 1, 2, 4 members and 1, 2, 3 shards (ROWS=1000000)
	@go run ./internal/devtools/ingestbench --rows '$(or $(ROWS),1000000)' --scale

bench-alert: need-go need-node engine ## a tick of 10,000 series and backtests of 100 objectives over 30 and 90 days; the last line is JSON
	@go run ./internal/devtools/alertbench

bench-decode: need-go ## ns, MB/s and allocations a record of each format's decoder, beside encoding/json and regexp
	@go run ./internal/devtools/decodebench

bench-kpi: need-go need-node engine ## seconds of each product report and bytes of rollups by key (ROWS=50000000, KEYS=5000)
	@go run ./internal/devtools/kpibench --rows '$(or $(ROWS),50000000)' --keys '$(KEYS)'

eval-kpi: need-go need-node engine ## every product figure against brute force over what was generated; blockers, forecasts (CONSUMERS=2000)
	@go run ./internal/devtools/kpieval --consumers '$(CONSUMERS)'

eval-aggregate: need-go need-node engine ## are explanations right? labelled incidents through the whole path (SEED=1)
	@go run ./internal/devtools/evalaggregate --seed '$(SEED)'

eval-alerts: need-go need-node engine ## are pages right? labelled incidents and clean days through the whole path (SEED=1, SCENARIOS=200, DAYS=30, KINDS=a,b, PAGES=file)
	@go run ./internal/devtools/evalalerts --seed '$(SEED)' --scenarios '$(or $(SCENARIOS),200)' --days '$(or $(DAYS),30)' --kinds '$(KINDS)' --pages '$(PAGES)'

replay: need-go need-node engine ## logs and spans of a folder in accelerated time, pages as JSON lines (DIR=folder, SPEED=0, OUT=pages.jsonl, CALM=1m; EXAMPLE=kind writes one)
	@go run ./internal/devtools/replay --dir '$(DIR)' --speed '$(or $(SPEED),0)' --out '$(or $(OUT),pages.jsonl)' --calm '$(or $(CALM),1m)' --example '$(EXAMPLE)' --seed '$(SEED)'

bench-aggregate: need-go need-node engine ## what questions cost on a large store, bytes and CPU of rollups (ROWS=50000000)
	@go run ./internal/devtools/aggregatebench --rows '$(or $(ROWS),50000000)'

bench-freshness: need-go need-node engine ## from Kafka's timestamp to v_request_10s, at half of the maximum rate
	@go run ./internal/devtools/freshnessbench

dashboards: need-go ## write dashboards/*.json from dashboards/generate; its first run fetches the Grafana Foundation SDK
	@cd dashboards/generate && go run . -sources . -out ..

dashboards-check: need-go need-node engine ## run every query of every dashboard on the demo's data as Grafana does; the last line is JSON (DAYS=15)
	@go run ./internal/devtools/dashboardcheck --days '$(or $(DAYS),15)'

dashboards-pictures: need-go need-node engine ## draw the main dashboards with Grafana's own components into docs/dashboards; needs Chromium, fetches 480 npm packages (DAYS=16)
	@go run ./internal/devtools/dashboardcheck --days '$(or $(DAYS),16)' --draw dashboards/pictures/build/data
	@cd dashboards/pictures && npm install --silent --no-package-lock --no-audit --no-fund && npm run --silent draw

fuzz: need-go ## every fuzz target for FUZZTIME each
	@for pkg in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

clean: ## remove what was built
	@rm -rf bin dist

need-go:
	@command -v go >/dev/null || { echo "make: Go is missing: install Go 1.26 or newer from https://go.dev/dl" >&2; exit 2; }

need-node:
	@command -v npm >/dev/null || { echo "make: npm is missing: install Node.js from https://nodejs.org (it fetches the ClickHouse library)" >&2; exit 2; }

need-java:
	@command -v java >/dev/null && command -v mvn >/dev/null || { echo "make: Java or Maven is missing: install Java 17 or newer and Maven (mvn), which fetches Apache Kafka" >&2; exit 2; }
