package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// checkTimeout bounds each readiness check.
const checkTimeout = 2 * time.Second

// A Check is one condition of readiness. Probe returns nil or the reason why not.
type Check struct {
	Name  string
	Probe func(ctx context.Context) error
}

// Admin is the HTTP server of a daemon's own state: /metrics, /healthz (the
// process lives), /readyz (every check passes, with reasons) and, if enabled,
// /debug/pprof/.
type Admin struct {
	addr   string
	log    *slog.Logger
	mux    *http.ServeMux
	checks []Check

	mu       sync.Mutex // guards listener
	listener net.Listener
}

// NewRegistry returns a registry with the metrics of the Go runtime, the process and the build.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "gatewatch_build_info",
			Help:        "Always 1; the label is the version.",
			ConstLabels: prometheus.Labels{"version": Version()},
		}, func() float64 { return 1 }),
	)
	return reg
}

// NewAdmin returns a server for listen, host:port. Port 0 takes a free one; see Addr.
func NewAdmin(listen string, withPprof bool, reg *prometheus.Registry, log *slog.Logger, checks ...Check) *Admin {
	a := &Admin{addr: listen, log: log, mux: http.NewServeMux(), checks: checks}
	a.mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true, Registry: reg}))
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	a.mux.HandleFunc("GET /readyz", a.ready)
	if withPprof {
		a.mux.HandleFunc("/debug/pprof/", pprof.Index)
		a.mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		a.mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		a.mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		a.mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return a
}

// Handle adds a page of the daemon's own, before Run.
func (a *Admin) Handle(pattern string, h http.Handler) { a.mux.Handle(pattern, h) }

// Listen takes the address, so that a fault shows at the start. Run does it if nobody has.
func (a *Admin) Listen() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listener != nil {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", a.addr)
	if err != nil {
		return Usagef("listen on %s: %w; set another `listen` address", a.addr, err)
	}
	a.listener = l
	return nil
}

// Addr is the address in use, or the configured one before Listen.
func (a *Admin) Addr() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listener == nil {
		return a.addr
	}
	return a.listener.Addr().String()
}

// Run serves until ctx ends.
func (a *Admin) Run(ctx context.Context) error {
	if err := a.Listen(); err != nil {
		return err
	}
	srv := &http.Server{Handler: a.mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn)}
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(sctx) != nil {
			srv.Close()
		}
	})()
	err := srv.Serve(a.listener)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return fmt.Errorf("serve %s: %w", a.Addr(), err)
}

// checkResult is one line of /readyz.
type checkResult struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

func (a *Admin) ready(w http.ResponseWriter, r *http.Request) {
	results := make([]checkResult, len(a.checks))
	var wg sync.WaitGroup
	for i, c := range a.checks {
		wg.Go(func() { results[i] = probe(r.Context(), c) })
	}
	wg.Wait()
	status := http.StatusOK
	for _, c := range results {
		if !c.OK {
			status = http.StatusServiceUnavailable
		}
	}
	if r.URL.Query().Get("format") == "json" || strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(map[string]any{"ready": status == http.StatusOK, "checks": results}); err != nil {
			a.log.Debug("answer /readyz", "err", err)
		}
		return
	}
	w.WriteHeader(status)
	for _, c := range results {
		if c.OK {
			fmt.Fprintf(w, "ok   %s\n", c.Name)
		} else {
			fmt.Fprintf(w, "FAIL %s: %s\n", c.Name, c.Reason)
		}
	}
}

// probe runs a check, and gives up on one that does not heed its context.
func probe(ctx context.Context, c Check) checkResult {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- c.Probe(ctx) }()
	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = fmt.Errorf("no answer within %s", checkTimeout)
	}
	if err != nil {
		return checkResult{Name: c.Name, Reason: err.Error()}
	}
	return checkResult{Name: c.Name, OK: true}
}
