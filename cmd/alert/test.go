package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/alertmanager"
	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/owner"
)

func runTest(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "test", "sends a page that is marked as a test and prints the receivers that Alertmanager reports for it.",
		"gatewatch-alert test --service payments --severity page")
	file := configFlag(fs)
	service := fs.String("service", "", "the `service` that the page is about")
	severity := fs.String("severity", "page", "page or ticket")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 || *service == "" {
		return daemon.Usagef("write: test --service NAME [--severity page|ticket]")
	}
	sever, err := alert.ParseSeverity(*severity)
	if err != nil || sever == alert.None {
		return daemon.Usagef("--severity %q is neither page nor ticket", *severity)
	}
	k, err := load(*file, env.Getenv)
	if err != nil {
		return err
	}
	c := k.config
	if len(c.Alert.Alertmanagers) == 0 {
		return daemon.Usage(c.Fault("alert.alertmanagers", "missing: list their base URLs"))
	}
	client, err := alertmanager.New(c.Alert.Alertmanagers, c.Alert.AlertmanagerAuth)
	if err != nil {
		return daemon.Usage(err)
	}
	a := testAlert(k, *service, sever, time.Now())
	if err := client.Send(ctx, []evaluate.Alert{a}); err != nil {
		return daemon.Unreachable(err)
	}
	names, fallback, err := received(ctx, client, a)
	if err != nil {
		return daemon.Unreachable(err)
	}
	for _, l := range slices.Sorted(maps.Keys(a.Labels)) {
		fmt.Fprintf(env.Stdout, "label     %s=%q\n", l, a.Labels[l])
	}
	for _, n := range names {
		mark := ""
		if n == fallback {
			mark = "  (the default of the routes)"
		}
		fmt.Fprintf(env.Stdout, "receiver  %s%s\n", n, mark)
	}
	fmt.Fprintln(env.Stdout, "the test ends by itself, after the resolve_timeout of Alertmanager (5m if it is not set)")
	switch {
	case len(names) == 0:
		return daemon.No(errors.New("Alertmanager reports no receiver for it"))
	case len(names) == 1 && names[0] == fallback:
		return daemon.No(fmt.Errorf("only the default receiver %q gets it: no route matches its labels", fallback))
	}
	return nil
}

// testAlert is an alert as an objective of the service would raise it, marked.
func testAlert(k *knowledge, service string, severity alert.Severity, now time.Time) evaluate.Alert {
	c := k.config.Alert
	a := k.owners.Lookup(owner.Question{Service: service}, c.DefaultOwner)
	label := severity.String()
	if other, ok := c.SeverityMap[label]; ok {
		label = other
	}
	labels := map[string]string{"alertname": "SLOBurn", "slo": "gatewatch-test", "service": service, "owner": a.Team.Name, "severity": label, "test": "true"}
	maps.Copy(labels, c.ExtraLabels)
	text := strings.Join([]string{
		fmt.Sprintf("[TEST] %s: a test of alerting, sent at %s UTC; nothing is wrong", service, now.UTC().Format("15:04")),
		"Impact   none: somebody ran `gatewatch-alert test`",
		"Owner    " + a.Team.Name,
	}, "\n")
	summary, _, _ := strings.Cut(text, "\n")
	return evaluate.Alert{
		Labels: labels, Annotations: map[string]string{"page": text, "summary": summary, "description": summary}, GeneratorURL: c.ExternalURL,
	}
}

// received asks Alertmanager until it knows the alert.
func received(ctx context.Context, client *alertmanager.Client, a evaluate.Alert) (names []string, fallback string, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for {
		if names, fallback, err = client.Receivers(ctx, a.Labels); err == nil && len(names) > 0 {
			return names, fallback, nil
		}
		select {
		case <-ctx.Done():
			return names, fallback, err
		case <-time.After(200 * time.Millisecond):
		}
	}
}
