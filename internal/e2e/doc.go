// Package e2e holds tests only: the built binaries against a whole stack.
package e2e
