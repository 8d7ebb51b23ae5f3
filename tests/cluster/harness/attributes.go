package harness

import "syscall"

// processAttributes keep a ^C of ours from the process, which the harness
// stops itself.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
