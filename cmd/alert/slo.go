package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"gatewatch/internal/daemon"
	"gatewatch/internal/slo"
)

func runSLO(_ context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "slo", "expand FILE shows objectives of any form as full OpenSLO v1.", "gatewatch-alert slo expand payments.yaml")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 2 || fs.Arg(0) != "expand" {
		return daemon.Usagef("write: slo expand FILE")
	}
	set, err := loadSLOs(fs.Arg(1))
	if err != nil {
		return daemon.Usage(err)
	}
	for _, n := range set.Notes {
		fmt.Fprintf(env.Stderr, "note  %s\n", n)
	}
	return writeSLOs(env, set.SLOs)
}

func writeSLOs(env *daemon.Env, list []slo.SLO) error {
	b, err := slo.Expand(list)
	if err != nil {
		return err
	}
	_, err = env.Stdout.Write(b)
	return err
}

func runImport(_ context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "import", "converts objectives of Sloth and Pyrra that are about requests into OpenSLO; what can't be converted is said on standard error.",
		"gatewatch-alert import sloth.yaml > /etc/gatewatch/slo/imported.yaml")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return daemon.Usagef("name the files to import")
	}
	var list []slo.SLO
	refused := 0
	for _, name := range fs.Args() {
		b, err := os.ReadFile(name)
		if err != nil {
			return daemon.Usage(err)
		}
		more, notes, err := slo.Import(filepath.Base(name), b)
		if err != nil {
			return daemon.Usage(err)
		}
		list = append(list, more...)
		refused += len(notes)
		for _, n := range notes {
			fmt.Fprintf(env.Stderr, "note  %s\n", n)
		}
	}
	if len(list) == 0 {
		return daemon.No(fmt.Errorf("none of the objectives can be converted"))
	}
	if err := writeSLOs(env, list); err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "%s converted, %s\n", plural(len(list), "objective"), plural(refused, "note"))
	return nil
}
