//go:build !nosql

package engine

/*
#cgo CFLAGS: -fexceptions
#cgo LDFLAGS: -Wl,--wrap=duckdb_je_malloc -Wl,--wrap=duckdb_je_realloc -Wl,--wrap=duckdb_je_free
#include "account.h"

// DuckDB's functions that run a query's tasks on threads of the caller's are not
// in the bindings.
typedef void *task_state;
task_state duckdb_create_task_state(void *db);
void duckdb_execute_tasks_state(task_state state);
void duckdb_finish_execution(task_state state);
void duckdb_destroy_task_state(task_state state);

static void account_work(chronik_account *account, task_state state) {
	chronik_account_enter(account);
	duckdb_execute_tasks_state(state);
	chronik_account_enter(0);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// account is the memory of one query: a bound that holds, unlike DuckDB's own
// limit, which counts only what goes through its buffers.
type account struct{ c *C.chronik_account }

func openAccount(bytesMax int64) (*account, error) {
	c := C.chronik_account_open(C.int64_t(bytesMax))
	if c == nil {
		return nil, errors.New("start duckdb: no memory for an account")
	}
	return &account{c}, nil
}

// sampleBytes are those that one sampled allocation may stand for.
const sampleBytes = C.CHRONIK_SAMPLE

// keep makes another owner, who closes the account too.
func (a *account) keep() { C.chronik_account_keep(a.c) }

// close gives the account up. What is charged to it stays valid.
func (a *account) close() { C.chronik_account_close(a.c) }

// enter charges the account with what DuckDB allocates in calls of this
// goroutine, until the function that it returns is called.
func (a *account) enter() (leave func()) {
	runtime.LockOSThread()
	C.chronik_account_enter(a.c)
	return func() {
		C.chronik_account_enter(nil)
		runtime.UnlockOSThread()
	}
}

// bytes are charged now.
func (a *account) bytes() int64 { return int64(C.chronik_account_bytes(a.c)) }

// refused reports whether an allocation was refused for want of room.
func (a *account) refused() bool { return C.chronik_account_refused(a.c) != 0 }

// workers are threads that run a query's tasks, beside the one that asks. They
// are ours and not DuckDB's, so that they can enter the account.
type workers struct {
	state   C.task_state
	running sync.WaitGroup
}

// threadSettings make DuckDB use threads of its caller's, and start none.
func threadSettings(threads int) []string {
	return []string{fmt.Sprintf("SET threads = %d", threads), fmt.Sprintf("SET external_threads = %d", threads)}
}

// startWorkers starts all threads of the database but the one that asks.
func startWorkers(db bindings.Database, a *account, threads int) *workers {
	w := &workers{state: C.duckdb_create_task_state(db.Ptr)}
	for range threads - 1 {
		w.running.Go(func() { C.account_work(a.c, w.state) })
	}
	return w
}

// stop ends the threads, before the database is closed.
func (w *workers) stop() {
	C.duckdb_finish_execution(w.state)
	w.running.Wait()
	C.duckdb_destroy_task_state(w.state)
}
