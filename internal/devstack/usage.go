package devstack

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// CPU returns the CPU time that a process has used, 0 where that can't be read.
func CPU(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	var user, sys int64
	var skip string
	if _, err := fmt.Sscan(rest, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &sys); err != nil {
		return 0
	}
	return time.Duration(user+sys) * time.Second / 100
}

// PeakRSS returns the most memory that a process has had, in MiB, 0 where that can't be read.
func PeakRSS(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	var kib int64
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, _ = fmt.Sscan(rest, &kib)
		}
	}
	return kib >> 10
}
