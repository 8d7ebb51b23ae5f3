//go:build !linux

package compactor

// beNice does nothing where a thread has no priority of its own.
func beNice() error { return nil }
