package leash_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatewatch/internal/devstack/leash"
)

// parentEnv makes the test binary a parent that starts a child on a leash and then sleeps.
const parentEnv = "GATEWATCH_LEASH_TEST_PARENT"

func TestMain(m *testing.M) {
	leash.Main()
	if os.Getenv(parentEnv) != "" {
		// The child ignores SIGTERM and has a child of its own.
		p, err := leash.Start(os.Stderr, "sh", "-c", `trap "" TERM; sleep 300 & echo $! >&2; wait; sleep 300`)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.PID)
		time.Sleep(time.Minute)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestParentKilled kills the parent with SIGKILL and looks for what is left.
func TestParentKilled(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := parent.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	child, grandchild := readPID(t, bufio.NewReader(out)), readPID(t, bufio.NewReader(errs))
	for _, pid := range []int{child, grandchild} {
		if !alive(pid) {
			t.Fatalf("process %d doesn't run", pid)
		}
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	deadline := time.Now().Add(5 * time.Second)
	for alive(child) || alive(grandchild) {
		if time.Now().After(deadline) {
			t.Fatalf("5 s after the parent's death: child %v, grandchild %v", alive(child), alive(grandchild))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestStop(t *testing.T) {
	p, err := leash.Start(os.Stderr, "sleep", "300")
	if err != nil {
		t.Fatal(err)
	}
	if !p.Stop(2 * time.Second) {
		t.Error("sleep did not end by SIGTERM")
	}
	if alive(p.PID) {
		t.Error("the child runs after Stop")
	}
	p, err = leash.Start(os.Stderr, "sh", "-c", "exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if code := p.Err().(*exec.ExitError).ExitCode(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if _, err := leash.Start(os.Stderr, "/no/such/program"); err == nil {
		t.Error("a program that doesn't exist was started")
	}
}

func readPID(t *testing.T, r *bufio.Reader) int {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// alive reports whether a process exists and is not a zombie.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}
