// Command faults injects faults into a running pipeline of real parts, the
// built binaries included, and proves after each kind that nothing is lost and
// nothing doubled: `ingest verify --deep` must be clean, and the rows, all
// rollups and the dead letters must be as many as were sent. It prints a table
// and ends with one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
)

func main() {
	leash.Main()
	if len(os.Args) > 1 && os.Args[1] == brokerArg {
		os.Exit(serveBroker(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	brokers []string
	only    *regexp.Regexp
	scale   float64
	seed    uint64
	keep    string
}

func parse(args []string) (o options, err error) {
	fs := flag.NewFlagSet("faults", flag.ContinueOnError)
	brokers := fs.String("brokers", "kfake,kafka", "what to run on: kfake, kafka (real Apache Kafka: needs Java and Maven) or both")
	only := fs.String("run", "", "only kinds that match this `REGEXP`")
	fs.Float64Var(&o.scale, "scale", 1, "share of the repetitions of each kind; at least one is made")
	fs.Uint64Var(&o.seed, "seed", 1, "of random moments")
	fs.StringVar(&o.keep, "keep", "", "keep the data and logs of failed kinds below this `FOLDER`")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.brokers = strings.Split(*brokers, ",")
	for _, b := range o.brokers {
		if b != brokerKfake && b != brokerKafka {
			return o, fmt.Errorf("--brokers %q: want kfake, kafka or kfake,kafka", *brokers)
		}
	}
	o.only, err = regexp.Compile(*only)
	return o, err
}

// summary is the last line.
type summary struct {
	Kinds   int   `json:"kinds"`
	Runs    int   `json:"runs"`
	Rows    int64 `json:"rows"`
	Lost    int64 `json:"lost"`
	Doubled int64 `json:"doubled"`
	Failed  int   `json:"failed"`
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	root, err := devstack.Root(".")
	if err != nil {
		return err
	}
	bin, err := os.MkdirTemp("", "gatewatch-faults-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	if err := devstack.Build(ctx, root, bin); err != nil {
		return err
	}
	var sum summary
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "BROKER\tFAULT\tTIMES\tROWS\tLOST\tDOUBLED\tRECOVERY s (min/median/max)\tTOOK s")
	for _, broker := range o.brokers {
		for _, k := range kinds() {
			if !o.only.MatchString(k.name) || k.broker != "" && k.broker != broker {
				continue
			}
			began := time.Now()
			res := o.measure(ctx, root, bin, broker, k)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			sum.Kinds++
			sum.Runs += res.runs
			sum.Rows += res.rows
			sum.Lost += res.lost
			sum.Doubled += res.doubled
			fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%.0f\n", broker, k.name, res.runs, res.rows, res.lost, res.doubled, spread(res.recovery), time.Since(began).Seconds())
			fmt.Fprintf(os.Stderr, "%-6s %-24s %4d times %8d rows  lost %d  doubled %d  %3.0f s\n", broker, k.name, res.runs, res.rows, res.lost, res.doubled, time.Since(began).Seconds())
			if res.err != nil {
				sum.Failed++
				fmt.Fprintf(os.Stderr, "FAIL: %s on %s: %v\n", k.name, broker, res.err)
			}
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(sum); err != nil {
		return err
	}
	if sum.Failed > 0 {
		return fmt.Errorf("%d of %d kinds failed", sum.Failed, sum.Kinds)
	}
	return nil
}

// result is what one kind of fault did.
type result struct {
	runs          int
	rows          int64
	lost, doubled int64
	recovery      []time.Duration
	err           error
}

// measure runs one kind on a system of its own.
func (o options) measure(ctx context.Context, root, bin, broker string, k kind) (res result) {
	dir, err := os.MkdirTemp("", "gatewatch-fault-")
	if err != nil {
		return result{err: err}
	}
	defer func() {
		if res.err != nil && o.keep != "" {
			to := filepath.Join(o.keep, broker+"-"+k.name)
			res.err = errors.Join(res.err, os.RemoveAll(to), os.MkdirAll(o.keep, 0o755), os.Rename(dir, to))
		}
		_ = os.RemoveAll(dir)
	}()
	ctx, cancel := context.WithTimeout(ctx, kindTimeout)
	defer cancel()
	r, err := newRig(ctx, rigConfig{dir: dir, root: root, bin: bin, broker: broker, seed: o.seed, kind: k})
	if err != nil {
		return result{err: err}
	}
	defer r.close()
	times := max(1, int(float64(k.times)*o.scale))
	if res.runs, err = k.run(ctx, r, times); err != nil {
		return result{runs: res.runs, err: fmt.Errorf("%w\n%s", err, r.logs())}
	}
	v, err := r.verdict(ctx)
	if err != nil {
		return result{runs: res.runs, err: fmt.Errorf("%w\n%s", err, r.logs())}
	}
	res.rows, res.lost, res.doubled, res.recovery, res.err = v.Rows, v.Lost, v.Doubled, r.recovery, v.Err()
	return res
}

func spread(d []time.Duration) string {
	if len(d) == 0 {
		return "-"
	}
	lo, mid, hi := minMedianMax(d)
	return fmt.Sprintf("%.1f/%.1f/%.1f", lo.Seconds(), mid.Seconds(), hi.Seconds())
}
