package compactor

import (
	"log/slog"
	"runtime"
	"sync"
)

// workers are a bounded number of goroutines for background work, each on an
// operating system thread of its own with the lowest priority, so that it takes
// what the produce path in the same process leaves over.
type workers struct {
	jobs chan func()
	done sync.WaitGroup
}

func startWorkers(n int, log *slog.Logger) *workers {
	w := &workers{jobs: make(chan func())}
	for range n {
		w.done.Go(func() {
			niceThread(log)
			for job := range w.jobs {
				job()
			}
		})
	}
	return w
}

// niceThread gives a goroutine an operating system thread of its own, with the
// lowest priority. It is never unlocked: the thread ends with the goroutine, and its
// priority with it.
func niceThread(log *slog.Logger) {
	runtime.LockOSThread()
	if err := beNice(); err != nil {
		log.Warn("background work runs at normal priority", "err", err)
	}
}

// each runs the jobs and returns when all have ended.
func (w *workers) each(n int, job func(i int)) {
	var running sync.WaitGroup
	for i := range n {
		running.Add(1)
		w.jobs <- func() {
			defer running.Done()
			job(i)
		}
	}
	running.Wait()
}

func (w *workers) stop() {
	close(w.jobs)
	w.done.Wait()
}
