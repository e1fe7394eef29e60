// Package leash starts child processes that never outlive their parent, not
// even when it is killed. Between the two stands a small process, the leash:
// the parent's own binary, started again. It reads a pipe from the parent, and
// when that ends, however the parent ended, it stops the child and everything
// that the child has started in its process group.
package leash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const marker = "__gatewatch_leash"

// grace is how long a child may take to end by itself when its parent is gone.
const grace = 2 * time.Second

// Main turns this process into a leash if it was started as one, and then
// never returns. It must be the first call of main or TestMain of every binary
// that uses Start.
func Main() {
	if len(os.Args) > 2 && os.Args[1] == marker {
		os.Exit(hold(os.Args[2], os.Args[3:]))
	}
}

// Command is the main of a development command that uses Start: it runs run with
// the arguments until it ends or is interrupted, and exits 1 with its error.
func Command(name string, run func(ctx context.Context, args []string) error) {
	Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// hold runs the child until it or the parent ends.
func hold(name string, args []string) int {
	// The kernel kills the child when this thread ends, which is when the leash itself is killed.
	runtime.LockOSThread()
	stop := make(chan os.Signal, 4)
	signal.Notify(stop, syscall.SIGTERM)
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 127
	}
	// The parent reads the child's pid from the first line.
	fmt.Fprintf(os.NewFile(3, "pid"), "%d\n", cmd.Process.Pid)
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(gone)
	}()
	done := make(chan struct{})
	go func() {
		select {
		case <-gone:
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			select {
			case <-done:
			case <-time.After(grace):
			}
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		case <-done:
		}
	}()
	go func() {
		for s := range stop {
			_ = cmd.Process.Signal(s)
		}
	}()
	err := cmd.Wait()
	close(done)
	// What the child left behind in its group ends with it.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	default:
		return 128 + int(syscall.SIGKILL)
	}
}

// A Process is a child on a leash.
type Process struct {
	// PID is the child's own process id, not the leash's.
	PID int

	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{}
	once  sync.Once
	err   error // set before done is closed
}

// Start starts a program whose output goes to out.
func Start(out io.Writer, name string, args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p := &Process{cmd: exec.Command(self, append([]string{marker, path}, args...)...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.ExtraFiles = []*os.File{w}
	// A group of its own: Ctrl-C at a terminal reaches the parent only, which stops its children in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if _, err := fmt.Fscan(r, &p.PID); err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: the process ended at once", name)
	}
	return p, nil
}

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the child ended: nil for exit code 0. It waits for the end.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Kill ends the child at once, as a crash does, and waits until it is gone.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.PID, syscall.SIGKILL)
	<-p.done
	p.release()
}

// Stop asks the child to end and kills it after timeout. It reports whether the child ended by itself.
func (p *Process) Stop(timeout time.Duration) bool {
	defer p.release()
	select {
	case <-p.done:
		return true
	default:
	}
	_ = syscall.Kill(p.PID, syscall.SIGTERM)
	select {
	case <-p.done:
		return true
	case <-time.After(timeout):
		p.Kill()
		return false
	}
}

func (p *Process) release() { p.once.Do(func() { p.stdin.Close() }) }
