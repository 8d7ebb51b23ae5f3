package compactor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// beNice gives the calling thread the lowest priority: it runs when nobody else
// wants the core. On Linux a priority belongs to a thread.
func beNice() error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19); err != nil {
		return fmt.Errorf("lower the thread's priority: %w", err)
	}
	return nil
}
