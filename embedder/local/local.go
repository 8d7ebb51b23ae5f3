package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Config is what the operator says of local models.
type Config struct {
	// Dir has a directory for each model, which has the model's name.
	Dir string
	// Runtime is the file of ONNX Runtime's library. By default it is looked for in
	// the usual places; GoRuntime is not to use any.
	Runtime string
	// Threads is how many batches are computed at once; by default one for each
	// processor.
	Threads int
	Logger  *slog.Logger // nil is nobody
}

// GoRuntime as Config.Runtime chooses the runtime that is part of this program.
const GoRuntime = "go"

// ErrModel is returned for models that are not there, are damaged or need what is
// not supported: for what asking again does not change.
var ErrModel = errors.New("the local model cannot be used")

// Models are a process's local models. All methods may be called at once.
type Models struct {
	config Config
	gate   *semaphore.Weighted // of documents
	single *semaphore.Weighted // of single texts

	mu     sync.Mutex
	opened map[string]*Model
}

// New returns the models of a directory; none is read yet.
func New(c Config) *Models {
	if c.Threads <= 0 {
		c.Threads = runtime.GOMAXPROCS(0)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Models{
		config: c, gate: semaphore.NewWeighted(int64(c.Threads)), single: semaphore.NewWeighted(1), opened: make(map[string]*Model),
	}
}

// Open reads a model, once.
func (m *Models) Open(name string) (*Model, error) {
	m.mu.Lock()
	defer m.mu.Unlock() // who else wants a model meanwhile most likely wants this one
	if model := m.opened[name]; model != nil {
		return model, nil
	}
	model, err := m.open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrModel, name, err)
	}
	m.opened[name] = model
	m.config.Logger.Info("local embedding model", "model", name, "backend", model.Backend(), "dimensions", model.Dimensions(), "tokens", model.MaxTokens())
	return model, nil
}

func (m *Models) open(name string) (*Model, error) {
	if m.config.Dir == "" {
		return nil, errors.New("no directory of models is set")
	}
	if name == "." || !fs.ValidPath(name) || strings.Contains(name, `\`) {
		return nil, errors.New("its name is not one of a directory below that of models")
	}
	d, err := readDirectory(filepath.Join(m.config.Dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	b, err := m.backend(d)
	if err != nil {
		return nil, err
	}
	model := &Model{models: m, directory: d, backend: b}
	if err := model.prove(); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return model, nil
}

// backend opens what computes a directory's vectors.
func (m *Models) backend(d *directory) (backend, error) {
	if d.static != "" {
		return openStatic(d)
	}
	library, err := m.library()
	if err != nil {
		return nil, err
	}
	if library != "" {
		return openRuntime(d, library)
	}
	return openGo(d)
}

// library gives the file of ONNX Runtime, which is loaded then, or nothing if
// there is none. One that is named has to work; one that is only found need not.
func (m *Models) library() (string, error) {
	switch m.config.Runtime {
	case GoRuntime:
		return "", nil
	case "":
	default:
		return m.config.Runtime, loadRuntime(m.config.Runtime)
	}
	for _, file := range findRuntime() {
		err := loadRuntime(file)
		if err == nil {
			return file, nil
		}
		m.config.Logger.Warn("ONNX Runtime was found, but cannot be used", "file", file, "err", err)
	}
	m.config.Logger.Info("ONNX Runtime is not there: local models run without it, on less of the processor's time than they could")
	return "", nil
}

// Close lets the models go, after the batches that are computed.
func (m *Models) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, model := range m.opened {
		errs = append(errs, model.close())
	}
	clear(m.opened)
	return errors.Join(errs...)
}

// backend computes vectors of batches of tokens. Calls may come at once.
type backend interface {
	String() string
	// run gives one vector for each text, or one for each token.
	run(ctx context.Context, b *batch) (hidden, error)
	close() error
}

// hidden is what a backend gives: vectors of width numbers each.
type hidden struct {
	values   []float32
	width    int
	perToken bool
}
