package daemon

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker (see the Makefile) and by nothing else.
var version string

// Version is the build's version with Go version and platform.
func Version() string {
	v := version
	if v == "" {
		v = "unknown"
		if bi, ok := debug.ReadBuildInfo(); ok {
			v = fromBuildInfo(bi)
		}
	}
	return fmt.Sprintf("%s (%s, %s/%s)", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func fromBuildInfo(bi *debug.BuildInfo) string {
	v := bi.Main.Version
	for _, s := range bi.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value[:min(12, len(s.Value))]
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return v
}
