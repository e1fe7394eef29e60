// Package daemon is the frame that every binary stands in: sub-commands with
// help, exit codes, signals, the log, the admin HTTP server with metrics and
// health, and a shutdown in stages that one timeout bounds. Only package main
// of the binaries uses it.
package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
)

// Env is what a command sees of its process.
type Env struct {
	// App is the binary's name as people type it, such as gatewatch-ingest.
	App            string
	Getenv         func(string) string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// A Command is one sub-command.
type Command struct {
	Name string
	// Summary is one line for the list of commands.
	Summary string
	Run     func(ctx context.Context, env *Env, args []string) error
}

// An App is a binary with its sub-commands.
type App struct {
	Name    string // as people type it
	Summary string // one sentence
	// Default is the command that runs if none is named.
	Default  string
	Commands []Command
}

// Main runs the command that args name (args excludes the program's name) and
// returns the process's exit code. SIGINT and SIGTERM end ctx; a second one
// ends the process at once.
func (a App) Main(ctx context.Context, env *Env, args []string) int {
	env.App = a.Name
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from now on a signal has its usual effect

	err := a.dispatch(ctx, env, args)
	if err == nil {
		return 0
	}
	code := ExitCode(err)
	if text := err.Error(); text != "" {
		fmt.Fprintf(env.Stderr, "%s: %s\n", a.Name, text)
	}
	return code
}

func (a App) dispatch(ctx context.Context, env *Env, args []string) error {
	name := a.Default
	if len(args) > 0 {
		switch args[0] {
		case "-h", "-help", "--help", "help":
			a.usage(env.Stdout)
			return nil
		case "-version", "--version", "version":
			_, err := fmt.Fprintf(env.Stdout, "%s %s\n", a.Name, Version())
			return err
		}
		if !strings.HasPrefix(args[0], "-") {
			name, args = args[0], args[1:]
		}
	}
	for _, c := range a.Commands {
		if c.Name == name {
			err := c.Run(ctx, env, args)
			if errors.Is(err, flag.ErrHelp) {
				return nil
			}
			return err
		}
	}
	return Usagef("unknown command %q; `%s -h` lists the commands", name, a.Name)
}

func (a App) usage(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n\nUsage: %s COMMAND [--flags]\n\nCommands:\n", a.Name, a.Summary, a.Name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range a.Commands {
		def := ""
		if c.Name == a.Default {
			def = " (the default)"
		}
		fmt.Fprintf(t, "  %s\t%s%s\n", c.Name, c.Summary, def)
	}
	t.Flush()
	fmt.Fprintf(w, `
%[1]s COMMAND -h shows a command's flags and an example.
%[1]s --version prints the version.

Exit: 0 yes; 1 the answer is no; 2 usage or configuration; 3 unreachable or
not permitted; 4 not enough data to say.
`, a.Name)
}

// Flags returns a flag set for a command whose -h prints summary, the flags and
// an example on standard output. Parse it with ParseFlags.
func Flags(env *Env, command, summary, example string) *flag.FlagSet {
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {
		w := env.Stdout
		fmt.Fprintf(w, "%s %s: %s\n\nFlags:\n", env.App, command, summary)
		fs.VisitAll(func(f *flag.Flag) {
			kind, text := flag.UnquoteUsage(f)
			dashes := "--"
			if len(f.Name) == 1 {
				dashes = "-"
			}
			fmt.Fprintf(w, "  %s%s", dashes, f.Name)
			if kind != "" {
				fmt.Fprintf(w, " %s", kind)
			}
			fmt.Fprintf(w, "\n        %s", text)
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
				fmt.Fprintf(w, " (default %s)", f.DefValue)
			}
			fmt.Fprintln(w)
		})
		fmt.Fprintf(w, "\nExample:\n  %s\n", strings.ReplaceAll(strings.TrimSpace(example), "\n", "\n  "))
	}
	return fs
}

// ParseFlags parses args. After -h it returns flag.ErrHelp, which Main takes for
// success; any other fault is a usage error.
func ParseFlags(fs *flag.FlagSet, args []string) error {
	err := fs.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return Usagef("%s: %w", fs.Name(), err)
}

// Exit codes, the same in every command.
const (
	CodeNo          = 1 // the answer is no: a gap, a breach, coverage below 100 %
	CodeUsage       = 2 // usage or configuration
	CodeUnreachable = 3 // unreachable or not permitted
	CodeUnknown     = 4 // not enough data to say
)

// An Exit is an error that decides the exit code. With a nil Err nothing is
// printed: the command's output has said it all.
type Exit struct {
	Code int
	Err  error
}

func (e *Exit) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *Exit) Unwrap() error { return e.Err }

// No says that the answer is no (exit code 1). err may be nil.
func No(err error) error { return &Exit{CodeNo, err} }

// Usage says that flags or configuration are wrong (exit code 2).
func Usage(err error) error { return &Exit{CodeUsage, err} }

// Usagef is Usage of fmt.Errorf.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// Unreachable says that a server can't be reached or does not permit it (exit code 3).
func Unreachable(err error) error { return &Exit{CodeUnreachable, err} }

// Unknown says that there is not enough data for an answer (exit code 4). err may be nil.
func Unknown(err error) error { return &Exit{CodeUnknown, err} }

// ExitCode is the exit code for what a command returned. Errors of the network
// that nobody has classified count as unreachable.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Exit](err); ok {
		return e.Code
	}
	var ne net.Error
	if errors.As(err, &ne) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrPermission) {
		return CodeUnreachable
	}
	return CodeNo
}
