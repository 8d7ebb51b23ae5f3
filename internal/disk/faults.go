package disk

import (
	"sync"
	"time"
)

// Site names an operation at which a fault can strike.
type Site string

// The sites of Faults.
const (
	SiteCreate   Site = "create"
	SiteRead     Site = "read"
	SiteWrite    Site = "write"
	SiteDatasync Site = "datasync"
	SiteRename   Site = "rename"
	SiteSyncDir  Site = "syncdir"
)

// Fault says what happens to one operation.
type Fault struct {
	Delay time.Duration
	Err   error // returned instead of the operation's own result
	After bool  // do it first, then return Err: an error that hides an effect
	Cut   int   // a write stores only its first Cut bytes before it fails; 0 is all or nothing
}

// Decide is asked before each operation; nil lets it pass. n counts the
// operations of that site from 1.
type Decide func(site Site, name string, n int) *Fault

// Faults returns fs with faults injected where decide says so.
func Faults(under FS, decide Decide) FS {
	return &faultFS{FS: under, decide: decide, counts: map[Site]int{}}
}

type faultFS struct {
	FS
	decide Decide
	mu     sync.Mutex
	counts map[Site]int
}

func (f *faultFS) ask(site Site, name string) Fault {
	f.mu.Lock()
	f.counts[site]++
	n := f.counts[site]
	f.mu.Unlock()
	fault := f.decide(site, name, n)
	if fault == nil {
		return Fault{}
	}
	if fault.Delay > 0 {
		<-time.After(fault.Delay)
	}
	return *fault
}

func (f *faultFS) guard(site Site, name string, op func() error) error {
	fault := f.ask(site, name)
	if fault.Err != nil && !fault.After {
		return fault.Err
	}
	if err := op(); err != nil {
		return err
	}
	return fault.Err
}

func (f *faultFS) Create(name string) (File, error) {
	var file File
	err := f.guard(SiteCreate, name, func() (err error) { file, err = f.FS.Create(name); return err })
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, fs: f, name: name}, nil
}

func (f *faultFS) Open(name string) (File, error) {
	file, err := f.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, fs: f, name: name}, nil
}

func (f *faultFS) Rename(from, to string) error {
	return f.guard(SiteRename, from, func() error { return f.FS.Rename(from, to) })
}

func (f *faultFS) SyncDir(dir string) error {
	return f.guard(SiteSyncDir, dir, func() error { return f.FS.SyncDir(dir) })
}

type faultFile struct {
	File
	fs   *faultFS
	name string
}

func (f *faultFile) ReadAt(p []byte, offset int64) (n int, err error) {
	err = f.fs.guard(SiteRead, f.name, func() error { n, err = f.File.ReadAt(p, offset); return err })
	return n, err
}

func (f *faultFile) WriteAt(p []byte, offset int64) (int, error) {
	fault := f.fs.ask(SiteWrite, f.name)
	if fault.Err == nil {
		return f.File.WriteAt(p, offset)
	}
	keep := 0
	if fault.After {
		keep = len(p)
	} else if fault.Cut > 0 {
		keep = min(fault.Cut, len(p))
	}
	n, err := f.File.WriteAt(p[:keep], offset)
	if err != nil {
		return n, err
	}
	return n, fault.Err
}

func (f *faultFile) Datasync() error {
	return f.fs.guard(SiteDatasync, f.name, f.File.Datasync)
}
